"""What a customer has, from what was really delivered and when: facts, and everything that follows from them."""
