"""Tables, and what turns rows into domain values and back. Nothing above this folder sees a session."""
