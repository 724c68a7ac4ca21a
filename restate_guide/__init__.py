"""The machinery of the guide: finds the rules, runs them on a real server, shows what happened."""
