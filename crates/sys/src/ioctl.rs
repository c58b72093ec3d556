//! Terminal, pty, loop and namespace ioctls.
