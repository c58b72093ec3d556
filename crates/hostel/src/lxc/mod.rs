//! Running a container of LXC: its configuration becomes a machine, and its supervisor answers at the command socket.
//!
//! ```text
//!  lxc-start, liblxc.so.1            `[lxc monitor] LXCPATH NAME` (own session, streams on /dev/null)
//!    order on a sealed memfd ────────►  socket, pre-start hooks, Config ──► MachineSpec, runs it
//!    one JSON line  ◄────────────────   {"started": …} or {"failed": …}
//!  any client of LXC  ◄──────────────►  serve: the command socket, while it runs
//! ```

pub mod monitor;
mod serve;
pub mod start;
