//! The only road to execve: user, limits, capabilities, filter, then the program.
