"""The packaged demo: a simulated lender and its overdue-loans dataset. Uses the library as any user would."""
