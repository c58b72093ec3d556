//! `liblxc.so.1`: LXC's C interface, as its clients know it (lxc-* tools, python3-lxc, go-lxc and so Incus), over containers of hostel.
//!
//! ```text
//!  client ── struct lxc_container (584 bytes, append only) ──► a member function: three lines
//!                                                                │ enter: no panic leaves, NULL is refused, what failed is kept
//!                                                                ▼
//!                                            hostel_container::Container: disk, command socket
//!                                                                │ start
//!                                                                ▼
//!                                            hostel, which is executed: no client becomes a supervisor
//! ```
//! Nothing here decides anything about containers. What goes to the client is from malloc(3), which it frees; what it gives is borrowed
//! for one call. Beside `sys` this is the one crate with unsafe code: pointers of C are looked at in `c`, the child of an attachment is
//! made in `attach`, and arguments without end are taken in `variadic`.
#![allow(unsafe_code)]

mod attach;
mod c;
mod disk;
mod global;
mod inside;
mod items;
mod life;
mod log;
mod object;
mod program;
mod variadic;
