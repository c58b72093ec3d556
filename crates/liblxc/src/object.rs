//! `struct lxc_container`: what clients have in their hands, and what is behind it.

use std::ffi::{c_char, c_int, c_uint, c_ulong, c_void};
use std::mem::offset_of;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hostel_container::{Container, Error, Result};

use crate::attach::{Callback, Given};
use crate::c::{self, Out, Text, Texts, guard};
use crate::{disk, inside, items, life, variadic};

/// A container as C passes it: NULL, or one that [`lxc_container_new`] made.
pub(crate) type C<'a> = Option<&'a LxcContainer>;

/// Members and their places are the interface: 584 bytes that are never rearranged. What is behind them is ours.
#[repr(C)]
pub(crate) struct LxcContainer {
    name: AtomicPtr<c_char>,
    configfile: AtomicPtr<c_char>,
    /// Written by clients; from malloc(3).
    pidfile: AtomicPtr<c_char>,
    slock: AtomicPtr<c_void>,
    privlock: AtomicPtr<c_void>,
    numthreads: AtomicI32,
    /// Clients look only whether it is NULL: nothing is loaded, and nothing set.
    lxc_conf: AtomicPtr<c_void>,
    error_string: AtomicPtr<c_char>,
    pub(crate) error_num: AtomicI32,
    pub(crate) daemonize: AtomicBool,
    /// There are bindings that read a bool as an int.
    after_daemonize: [u8; 3],
    config_path: AtomicPtr<c_char>,
    is_defined: extern "C" fn(C<'_>) -> bool,
    state: extern "C" fn(C<'_>) -> *const c_char,
    is_running: extern "C" fn(C<'_>) -> bool,
    freeze: extern "C" fn(C<'_>) -> bool,
    unfreeze: extern "C" fn(C<'_>) -> bool,
    init_pid: extern "C" fn(C<'_>) -> c_int,
    load_config: extern "C" fn(C<'_>, Text<'_>) -> bool,
    start: extern "C" fn(C<'_>, c_int, Texts<'_>) -> bool,
    startl: variadic::Variadic,
    stop: extern "C" fn(C<'_>) -> bool,
    want_daemonize: extern "C" fn(C<'_>, bool) -> bool,
    want_close_all_fds: extern "C" fn(C<'_>, bool) -> bool,
    config_file_name: extern "C" fn(C<'_>) -> *mut c_char,
    wait: extern "C" fn(C<'_>, Text<'_>, c_int) -> bool,
    set_config_item: extern "C" fn(C<'_>, Text<'_>, Text<'_>) -> bool,
    destroy: extern "C" fn(C<'_>) -> bool,
    save_config: extern "C" fn(C<'_>, Text<'_>) -> bool,
    create: extern "C" fn(C<'_>, Text<'_>, Text<'_>, Option<&disk::Specs<'_>>, c_int, Texts<'_>) -> bool,
    createl: variadic::Variadic,
    rename: extern "C" fn(C<'_>, Text<'_>) -> bool,
    reboot: extern "C" fn(C<'_>) -> bool,
    shutdown: extern "C" fn(C<'_>, c_int) -> bool,
    clear_config: extern "C" fn(C<'_>),
    clear_config_item: extern "C" fn(C<'_>, Text<'_>) -> bool,
    get_config_item: extern "C" fn(C<'_>, Text<'_>, *mut c_char, c_int) -> c_int,
    get_running_config_item: extern "C" fn(C<'_>, Text<'_>) -> *mut c_char,
    get_keys: extern "C" fn(C<'_>, Text<'_>, *mut c_char, c_int) -> c_int,
    get_interfaces: extern "C" fn(C<'_>) -> *mut *mut c_char,
    get_ips: extern "C" fn(C<'_>, Text<'_>, Text<'_>, c_int) -> *mut *mut c_char,
    get_cgroup_item: extern "C" fn(C<'_>, Text<'_>, *mut c_char, c_int) -> c_int,
    set_cgroup_item: extern "C" fn(C<'_>, Text<'_>, Text<'_>) -> bool,
    get_config_path: extern "C" fn(C<'_>) -> *const c_char,
    set_config_path: extern "C" fn(C<'_>, Text<'_>) -> bool,
    clone: extern "C" fn(C<'_>, Text<'_>, Text<'_>, c_int, Text<'_>, Text<'_>, u64, Texts<'_>) -> *mut LxcContainer,
    console_getfd: extern "C" fn(C<'_>, Out<c_int>, Out<c_int>) -> c_int,
    console: extern "C" fn(C<'_>, c_int, c_int, c_int, c_int, c_int) -> c_int,
    attach: extern "C" fn(C<'_>, Option<Callback>, *mut c_void, Given<'_>, Out<c_int>) -> c_int,
    attach_run_wait: extern "C" fn(C<'_>, Given<'_>, Text<'_>, Texts<'_>) -> c_int,
    attach_run_waitl: variadic::Variadic,
    snapshot: extern "C" fn(C<'_>, Text<'_>) -> c_int,
    snapshot_list: extern "C" fn(C<'_>, Out<*mut disk::LxcSnapshot>) -> c_int,
    snapshot_restore: extern "C" fn(C<'_>, Text<'_>, Text<'_>) -> bool,
    snapshot_destroy: extern "C" fn(C<'_>, Text<'_>) -> bool,
    may_control: extern "C" fn(C<'_>) -> bool,
    add_device_node: extern "C" fn(C<'_>, Text<'_>, Text<'_>) -> bool,
    remove_device_node: extern "C" fn(C<'_>, Text<'_>, Text<'_>) -> bool,
    attach_interface: extern "C" fn(C<'_>, Text<'_>, Text<'_>) -> bool,
    detach_interface: extern "C" fn(C<'_>, Text<'_>, Text<'_>) -> bool,
    checkpoint: extern "C" fn(C<'_>, Text<'_>, bool, bool) -> bool,
    restore: extern "C" fn(C<'_>, Text<'_>, bool) -> bool,
    destroy_with_snapshots: extern "C" fn(C<'_>) -> bool,
    snapshot_destroy_all: extern "C" fn(C<'_>) -> bool,
    migrate: extern "C" fn(C<'_>, c_uint, *mut c_void, c_uint) -> c_int,
    console_log: extern "C" fn(C<'_>, Out<inside::ConsoleLog>) -> c_int,
    reboot2: extern "C" fn(C<'_>, c_int) -> bool,
    mount: extern "C" fn(C<'_>, Text<'_>, Text<'_>, Text<'_>, c_ulong, *const c_void, *mut c_void) -> c_int,
    umount: extern "C" fn(C<'_>, Text<'_>, c_ulong, *mut c_void) -> c_int,
    seccomp_notify_fd: extern "C" fn(C<'_>) -> c_int,
    seccomp_notify_fd_active: extern "C" fn(C<'_>) -> c_int,
    init_pidfd: extern "C" fn(C<'_>) -> c_int,
    devpts_fd: extern "C" fn(C<'_>) -> c_int,
    pub(crate) rcv_timeout: AtomicI32,
    set_timeout: extern "C" fn(C<'_>, c_int) -> bool,
    shared: Mutex<Arc<Container>>,
}

/// The interface ends where ours begins.
const PUBLIC: usize = 584;

macro_rules! places {
    ($($place:literal $member:ident)*) => {
        $(const _: () = assert!(offset_of!(LxcContainer, $member) == $place, stringify!($member));)*
    };
}
places! {
    0 name 8 configfile 16 pidfile 24 slock 32 privlock 40 numthreads 48 lxc_conf 56 error_string 64 error_num 68 daemonize
    72 config_path 80 is_defined 88 state 96 is_running 104 freeze 112 unfreeze 120 init_pid 128 load_config 136 start 144 startl
    152 stop 160 want_daemonize 168 want_close_all_fds 176 config_file_name 184 wait 192 set_config_item 200 destroy 208 save_config
    216 create 224 createl 232 rename 240 reboot 248 shutdown 256 clear_config 264 clear_config_item 272 get_config_item
    280 get_running_config_item 288 get_keys 296 get_interfaces 304 get_ips 312 get_cgroup_item 320 set_cgroup_item
    328 get_config_path 336 set_config_path 344 clone 352 console_getfd 360 console 368 attach 376 attach_run_wait
    384 attach_run_waitl 392 snapshot 400 snapshot_list 408 snapshot_restore 416 snapshot_destroy 424 may_control
    432 add_device_node 440 remove_device_node 448 attach_interface 456 detach_interface 464 checkpoint 472 restore
    480 destroy_with_snapshots 488 snapshot_destroy_all 496 migrate 504 console_log 512 reboot2 520 mount 528 umount
    536 seccomp_notify_fd 544 seccomp_notify_fd_active 552 init_pidfd 560 devpts_fd 568 rcv_timeout 576 set_timeout
}
const _: () = assert!(offset_of!(LxcContainer, shared) == PUBLIC);

impl LxcContainer {
    fn new(container: Container) -> Box<LxcContainer> {
        let object = Box::new(LxcContainer {
            name: AtomicPtr::new(c::string(&container.name)),
            configfile: AtomicPtr::default(),
            pidfile: AtomicPtr::default(),
            slock: AtomicPtr::default(),
            privlock: AtomicPtr::default(),
            numthreads: AtomicI32::new(1),
            lxc_conf: AtomicPtr::default(),
            error_string: AtomicPtr::default(),
            error_num: AtomicI32::new(0),
            daemonize: AtomicBool::new(true),
            after_daemonize: [0; 3],
            config_path: AtomicPtr::default(),
            is_defined: life::is_defined,
            state: life::state,
            is_running: life::is_running,
            freeze: life::freeze,
            unfreeze: life::unfreeze,
            init_pid: life::init_pid,
            load_config: items::load_config,
            start: life::start,
            startl: variadic::startl,
            stop: life::stop,
            want_daemonize: life::want_daemonize,
            want_close_all_fds: life::want_close_all_fds,
            config_file_name: items::config_file_name,
            wait: life::wait,
            set_config_item: items::set_config_item,
            destroy: disk::destroy,
            save_config: items::save_config,
            create: disk::create,
            createl: variadic::createl,
            rename: disk::rename,
            reboot: life::reboot,
            shutdown: life::shutdown,
            clear_config: items::clear_config,
            clear_config_item: items::clear_config_item,
            get_config_item: items::get_config_item,
            get_running_config_item: items::get_running_config_item,
            get_keys: items::get_keys,
            get_interfaces: inside::get_interfaces,
            get_ips: inside::get_ips,
            get_cgroup_item: items::get_cgroup_item,
            set_cgroup_item: items::set_cgroup_item,
            get_config_path: items::get_config_path,
            set_config_path: items::set_config_path,
            clone: disk::clone,
            console_getfd: inside::console_getfd,
            console: inside::console,
            attach: inside::attach,
            attach_run_wait: inside::attach_run_wait,
            attach_run_waitl: variadic::attach_run_waitl,
            snapshot: disk::snapshot,
            snapshot_list: disk::snapshot_list,
            snapshot_restore: disk::snapshot_restore,
            snapshot_destroy: disk::snapshot_destroy,
            may_control: life::may_control,
            add_device_node: inside::add_device_node,
            remove_device_node: inside::remove_device_node,
            attach_interface: inside::attach_interface,
            detach_interface: inside::detach_interface,
            checkpoint: life::checkpoint,
            restore: life::restore,
            destroy_with_snapshots: disk::destroy_with_snapshots,
            snapshot_destroy_all: disk::snapshot_destroy_all,
            migrate: life::migrate,
            console_log: inside::console_log,
            reboot2: life::reboot2,
            mount: inside::mount,
            umount: inside::umount,
            seccomp_notify_fd: inside::seccomp_notify_fd,
            seccomp_notify_fd_active: inside::seccomp_notify_fd,
            init_pidfd: inside::init_pidfd,
            devpts_fd: inside::devpts_fd,
            rcv_timeout: AtomicI32::new(0),
            set_timeout: life::set_timeout,
            shared: Mutex::new(Arc::new(container)),
        });
        object.show(&object.now());
        object
    }

    /// As it is now; whoever changes it meanwhile makes another one.
    pub(crate) fn now(&self) -> Arc<Container> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where the supervisor's pid is to be written: the client's own member.
    pub(crate) fn pidfile(&self) -> Option<String> {
        let text = self.pidfile.load(Ordering::Acquire);
        // SAFETY: NULL, or a string that the client put there and leaves there.
        (!text.is_null()).then(|| unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy().into_owned()).filter(|text| !text.is_empty())
    }

    /// What clients see in members, of what was changed.
    fn show(&self, container: &Container) {
        let conf = if container.config.is_some() { ptr::from_ref(self).cast_mut().cast() } else { ptr::null_mut() };
        self.lxc_conf.store(conf, Ordering::Release);
        replace(&self.configfile, Some(&container.config_file_name()));
        replace(&self.config_path, Some(&container.lxcpath));
    }

    fn failed(&self, error: &Error) {
        crate::log::write(&self.now().name, &error.text);
        replace(&self.error_string, Some(&error.text));
        c::set_errno(error.number);
    }
}

/// Puts another string into a member. The old one stays if it says the same: a client may be looking at it.
fn replace(member: &AtomicPtr<c_char>, text: Option<&str>) {
    let old = member.load(Ordering::Acquire);
    // SAFETY: NULL, or a string of ours.
    let same = !old.is_null() && text.is_some_and(|text| unsafe { std::ffi::CStr::from_ptr(old) }.to_bytes() == text.as_bytes());
    if !same {
        let old = member.swap(text.map_or(ptr::null_mut(), c::string), Ordering::AcqRel);
        // SAFETY: it was from malloc(3) and is in no member any more.
        unsafe { c::free(old) }
    }
}

impl Drop for LxcContainer {
    fn drop(&mut self) {
        for member in [&self.name, &self.configfile, &self.pidfile, &self.error_string, &self.config_path] {
            replace(member, None);
        }
    }
}

/// Asks a container. It is not held meanwhile: who waits is in nobody's way.
pub(crate) fn read<T>(c: C<'_>, failure: T, what: impl FnOnce(&Container) -> Result<T>) -> T {
    run(c, |_| failure, |c| what(&c.now()))
}

/// The same for members that fail with a negative number of errno(3).
pub(crate) fn read_number(c: C<'_>, what: impl FnOnce(&Container) -> Result<c_int>) -> c_int {
    run(c, |number| -number, |c| what(&c.now()))
}

/// The same with what C sees of it; `failure` makes the result of an error's number.
pub(crate) fn run<T>(c: C<'_>, failure: impl FnOnce(i32) -> T, what: impl FnOnce(&LxcContainer) -> Result<T>) -> T {
    let done = guard(Err(libc::EIO), || {
        let c = c.ok_or(libc::EINVAL)?;
        what(c).map_err(|error| {
            c.failed(&error);
            error.number
        })
    });
    done.unwrap_or_else(failure)
}

/// Changes a container; one after the other.
pub(crate) fn write<T>(c: C<'_>, failure: T, what: impl FnOnce(&mut Container) -> Result<T>) -> T {
    run(
        c,
        |_| failure,
        |c| {
            let mut shared = c.shared.lock().unwrap_or_else(PoisonError::into_inner);
            let done = what(Arc::make_mut(&mut shared));
            c.show(&shared);
            done
        },
    )
}

/// That an argument is missing.
pub(crate) fn missing(what: &str) -> Error {
    Error { text: format!("take argument {what}: it is NULL, or not UTF-8"), number: libc::EINVAL }
}

/// Another one for C; NULL: why is in the log.
pub(crate) fn made(name: &str, lxcpath: Option<&str>) -> *mut LxcContainer {
    match Container::new(name, lxcpath) {
        Ok(container) => Box::into_raw(LxcContainer::new(container)),
        Err(error) => {
            crate::log::write(name, &error.text);
            c::set_errno(error.number);
            ptr::null_mut()
        }
    }
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn lxc_container_new(name: Text<'_>, lxcpath: Text<'_>) -> *mut LxcContainer {
    guard(ptr::null_mut(), || match name.get() {
        Some(name) if lxcpath.is_null() || lxcpath.filled().is_some() => made(name, lxcpath.get()),
        _ => ptr::null_mut(),
    })
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn lxc_container_get(c: C<'_>) -> c_int {
    // One that is being freed has no user who may take it once more.
    let taken = |c: &LxcContainer| c.numthreads.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n > 0).then_some(n + 1));
    c_int::from(c.is_some_and(|c| taken(c).is_ok()))
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn lxc_container_put(c: *mut LxcContainer) -> c_int {
    // SAFETY: NULL, or one of ours that is still in use: the caller's use is the one that ends.
    let Some(object) = (unsafe { c.as_ref() }) else { return -1 };
    match object.numthreads.fetch_sub(1, Ordering::AcqRel) {
        2.. => 0,
        1 => guard(-1, || {
            // SAFETY: it was made by `made`, and this was its last user.
            drop(unsafe { Box::from_raw(c) });
            1
        }),
        _ => -1,
    }
}

#[cfg(test)]
mod tests;
