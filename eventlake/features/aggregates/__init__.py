"""What each aggregate is: the one table that declarations, plans, engines and the finisher ask."""
