"""The site: turns rules and their evidence into what a page shows."""
