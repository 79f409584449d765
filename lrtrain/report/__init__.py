"""What runs and comparisons look like: curves read from their files, pictures for print, and a page to explore."""
