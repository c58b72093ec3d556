//! Member functions for containers that run: started, watched, frozen, ended.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hostel_container::{Error, Order, Result, State};
use rustix::io::Errno;

use crate::c::{Text, Texts, guard};
use crate::object::{C, LxcContainer, missing, read, read_number, run, write};
use crate::program;

/// By the numbers of [`State`].
pub(crate) const STATES: [&CStr; 8] = [c"STOPPED", c"STARTING", c"RUNNING", c"STOPPING", c"ABORTING", c"FREEZING", c"FROZEN", c"THAWED"];

/// Seconds as clients give them; negative: without end.
fn seconds(timeout: c_int) -> Option<Duration> {
    u64::try_from(timeout).ok().map(Duration::from_secs)
}

pub(crate) extern "C" fn is_defined(c: C<'_>) -> bool {
    read(c, false, |c| Ok(c.is_defined()))
}

pub(crate) extern "C" fn state(c: C<'_>) -> *const c_char {
    guard(ptr::null(), || c.map_or(ptr::null(), |c| c.now().state().map_or(c"INVALID STATE", |state| STATES[state as usize]).as_ptr()))
}

pub(crate) extern "C" fn is_running(c: C<'_>) -> bool {
    read(c, false, |c| Ok(c.is_running()))
}

pub(crate) extern "C" fn may_control(c: C<'_>) -> bool {
    read(c, false, |c| Ok(c.may_control()))
}

pub(crate) extern "C" fn freeze(c: C<'_>) -> bool {
    read(c, false, |c| c.freeze().map(|()| true))
}

pub(crate) extern "C" fn unfreeze(c: C<'_>) -> bool {
    read(c, false, |c| c.unfreeze().map(|()| true))
}

pub(crate) extern "C" fn init_pid(c: C<'_>) -> c_int {
    guard(-1, || c.and_then(|c| c.now().init_pid().ok()).unwrap_or(-1))
}

pub(crate) extern "C" fn want_daemonize(c: C<'_>, wanted: bool) -> bool {
    c.inspect(|c| c.daemonize.store(wanted, Ordering::Release)).is_some()
}

/// Nothing that the client has open is passed on, whatever it wants.
pub(crate) extern "C" fn want_close_all_fds(c: C<'_>, _wanted: bool) -> bool {
    c.is_some()
}

pub(crate) extern "C" fn start(c: C<'_>, useinit: c_int, argv: Texts<'_>) -> bool {
    run(
        c,
        |_| false,
        |c| {
            c.error_num.store(1, Ordering::Release);
            let status = start_as(c, useinit != 0, argv)?;
            c.error_num.store(status, Ordering::Release);
            Ok(true)
        },
    )
}

fn start_as(c: &LxcContainer, execute: bool, argv: Texts<'_>) -> Result<c_int> {
    let container = c.now();
    let failed = |why: &str, number| container.error("start", why, number);
    let Some(config) = &container.config else { return Err(failed("it has no configuration", Errno::NOENT)) };
    let mut order = Order::of(&container);
    order.execute = execute;
    order.command = argv.words().transpose().map_err(|why| failed(why, Errno::INVAL))?.filter(|words| !words.is_empty());
    if execute && order.command.is_none() {
        order.command = config.value("lxc.execute.cmd").and_then(hostel_lxc::machine::words);
        if order.command.is_none() {
            return Err(failed("no command is given, and there is no lxc.execute.cmd", Errno::INVAL));
        }
    }
    order.pidfile = c.pidfile().map(Into::into);
    let program =
        program::hostel().ok_or_else(|| failed("there is no program hostel: not in $HOSTEL_BIN, beside this library, in PATH", Errno::NOENT))?;
    container.start(&program, &order, c.daemonize.load(Ordering::Acquire))
}

pub(crate) extern "C" fn stop(c: C<'_>) -> bool {
    read(c, false, |c| c.stop().map(|()| true))
}

pub(crate) extern "C" fn shutdown(c: C<'_>, timeout: c_int) -> bool {
    read(c, false, |c| c.shutdown(seconds(timeout)))
}

pub(crate) extern "C" fn reboot(c: C<'_>) -> bool {
    read(c, false, |c| c.reboot().map(|()| true))
}

pub(crate) extern "C" fn reboot2(c: C<'_>, timeout: c_int) -> bool {
    read(c, false, |c| c.reboot2(seconds(timeout)))
}

pub(crate) extern "C" fn wait(c: C<'_>, states: Text<'_>, timeout: c_int) -> bool {
    read(c, false, |c| c.wait(states.get().ok_or_else(|| missing("states"))?, seconds(timeout)))
}

/// Seconds that an answer may take; -1: as long as is usual.
pub(crate) extern "C" fn set_timeout(c: C<'_>, timeout: c_int) -> bool {
    if timeout != -1 && timeout <= 0 {
        return false;
    }
    if let Some(c) = c {
        c.rcv_timeout.store(timeout.max(0), Ordering::Release);
    }
    write(c, false, |c| {
        c.set_timeout(seconds(timeout));
        Ok(true)
    })
}

fn without_criu<T>(verb: &str) -> Result<T> {
    Err(Error::new(verb, "container", "there is no CRIU here", Errno::NOSYS))
}

pub(crate) extern "C" fn checkpoint(c: C<'_>, _directory: Text<'_>, _stop: bool, _verbose: bool) -> bool {
    read(c, false, |_| without_criu("checkpoint"))
}

pub(crate) extern "C" fn restore(c: C<'_>, _directory: Text<'_>, _verbose: bool) -> bool {
    read(c, false, |_| without_criu("restore"))
}

pub(crate) extern "C" fn migrate(c: C<'_>, _command: c_uint, _options: *mut c_void, _size: c_uint) -> c_int {
    read_number(c, |_| without_criu("migrate"))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn lxc_get_wait_states(to: *mut *const c_char) -> c_int {
    if !to.is_null() {
        for (at, state) in STATES.iter().enumerate() {
            // SAFETY: C passed an array with a place for each state.
            unsafe { to.add(at).write(state.as_ptr()) }
        }
    }
    STATES.len() as c_int
}

const _: () = assert!(State::Frozen as usize == 6 && State::Thawed as usize == 7);
