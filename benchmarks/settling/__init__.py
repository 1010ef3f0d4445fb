"""Two rollouts against sixteen on harder ground: four settings, three budgets, five group sizes; and a map."""
