//! Sockets between the command line and a supervisor, and sd_notify.
