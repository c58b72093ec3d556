//! A small epoll loop with signals, timers and pidfds.
