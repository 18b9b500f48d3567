"""What a model says about given answers and what it answers by itself, as tables of numbers."""
