"""The database: connections, transactions, migrations, tables. The queries are in gochat/repo."""
