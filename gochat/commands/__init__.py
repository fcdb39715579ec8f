"""The commands, one in each file: `add_to(commands)` adds its grammar and the function that runs it, which takes the
parsed arguments and returns the exit code. All but `serve` are clients of the running server, or use repo/ directly
where the server must be stopped."""
