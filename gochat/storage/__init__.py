"""The database itself: connections, transactions, migrations, tables. What is done with them is in gochat/repo."""
