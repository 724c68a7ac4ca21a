"""The machinery of the guide: it finds the rules, runs them on a real Restate server, and shows what happened."""
