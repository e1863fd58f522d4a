"""Ways to tell people things. A channel takes a letter and either sends it or says why it could not."""
