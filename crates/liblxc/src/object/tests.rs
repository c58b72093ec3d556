use std::ffi::{CStr, CString};

use super::*;

/// A container that is nowhere.
struct Nowhere(*mut LxcContainer);

impl Nowhere {
    fn new() -> Nowhere {
        let made = lxc_container_new(Text::of(c"web"), Text::of(c"/nonexistent"));
        assert!(!made.is_null());
        Nowhere(made)
    }
    fn get(&self) -> &LxcContainer {
        // SAFETY: it was made above, and is freed when this is dropped.
        unsafe { &*self.0 }
    }
}

impl Drop for Nowhere {
    fn drop(&mut self) {
        assert_eq!(lxc_container_put(self.0), 1);
    }
}

/// A string of C's, which is freed.
fn taken(text: *mut c_char) -> String {
    assert!(!text.is_null());
    // SAFETY: a string that was made for us, once.
    let copy = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    // SAFETY: likewise.
    unsafe { c::free(text) };
    copy
}

fn member(text: &AtomicPtr<c_char>) -> String {
    // SAFETY: a string of the member's.
    unsafe { CStr::from_ptr(text.load(Ordering::Acquire)) }.to_string_lossy().into_owned()
}

#[test]
fn no_container_at_all() {
    let made = Nowhere::new();
    let (c, none) = (made.get(), Text::NULL);
    let refuses = [c.is_defined, c.is_running, c.freeze, c.unfreeze, c.stop, c.destroy, c.reboot, c.may_control];
    assert!(refuses.iter().chain(&[c.destroy_with_snapshots, c.snapshot_destroy_all]).all(|member| !member(None)));
    let refuses = [c.load_config, c.save_config, c.rename, c.clear_config_item, c.set_config_path, c.snapshot_destroy];
    assert!(refuses.iter().all(|member| !member(None, Text::of(c"x")) && !member(None, none)));
    let refuses = [c.set_config_item, c.set_cgroup_item, c.add_device_node, c.remove_device_node, c.attach_interface];
    assert!(refuses.iter().chain(&[c.detach_interface, c.snapshot_restore]).all(|member| !member(None, none, none)));
    assert!((c.state)(None).is_null() && (c.config_file_name)(None).is_null() && (c.get_config_path)(None).is_null());
    assert!((c.get_interfaces)(None).is_null() && (c.get_ips)(None, none, none, 0).is_null());
    assert!((c.get_running_config_item)(None, none).is_null());
    assert!((c.clone)(None, none, none, 0, none, none, 0, Texts::NONE).is_null());
    (c.clear_config)(None);
    for length in [(c.get_config_item)(None, none, ptr::null_mut(), 0), (c.get_keys)(None, none, ptr::null_mut(), 0)] {
        assert_eq!(length, -1);
    }
    assert!(!(c.start)(None, 0, Texts::NONE) && !(c.wait)(None, none, 0) && !(c.shutdown)(None, 0) && !(c.reboot2)(None, 0));
    assert!(!(c.create)(None, none, none, None, 0, Texts::NONE) && !(c.set_timeout)(None, 1));
    assert!(!(c.want_daemonize)(None, true) && !(c.want_close_all_fds)(None, true));
    assert!(!(c.checkpoint)(None, none, false, false) && !(c.restore)(None, none, false));
    assert_eq!([(c.init_pid)(None), (c.snapshot)(None, none), (c.console)(None, 0, 0, 1, 2, 1)], [-1; 3]);
    assert_eq!((c.attach_run_wait)(None, Given::NONE, none, Texts::NONE), -1);
    let negative = [c.seccomp_notify_fd, c.seccomp_notify_fd_active, c.init_pidfd, c.devpts_fd].map(|member| member(None));
    assert_eq!(negative, [-libc::EINVAL; 4]);
    assert_eq!(lxc_container_get(None), 0);
    assert_eq!(lxc_container_put(ptr::null_mut()), -1);
    assert!(lxc_container_new(none, none).is_null() && lxc_container_new(Text::of(c"a/b"), none).is_null());
}

#[test]
fn wrong_states_and_arguments() {
    let made = Nowhere::new();
    let (c, some, none) = (made.get(), Some(made.get()), Text::NULL);
    assert!(!(c.set_config_item)(some, none, none) && !(c.clear_config_item)(some, none) && !(c.rename)(some, none));
    assert!(!(c.snapshot_restore)(some, Text::of(c"snap0"), none) && !(c.snapshot_destroy)(some, none));
    assert!(!(c.start)(some, 0, Texts::NONE) && c.error_num.load(Ordering::Acquire) == 1);
    assert!(member(&c.error_string).contains("it has no configuration"), "{}", member(&c.error_string));
    assert!(!(c.wait)(some, Text::of(c"ASLEEP"), 0) && (c.wait)(some, Text::of(c"STOPPED|RUNNING"), 0));
    assert_eq!((c.get_config_item)(some, Text::of(c"lxc.group"), ptr::null_mut(), 0), -1, "nothing is set");
    assert_eq!((c.console_getfd)(some, Out::NONE, Out::NONE), -1);
    assert_eq!((c.attach_run_wait)(some, Given::NONE, Text::of(c"true"), Texts::NONE), -1);
    assert_eq!((c.migrate)(some, 0, ptr::null_mut(), 0), -libc::ENOSYS);
    assert_eq!((c.mount)(some, none, none, none, 0, ptr::null(), ptr::null_mut()), -libc::EINVAL);
    assert!([0, -2].iter().all(|bad| !(c.set_timeout)(some, *bad)) && (c.set_timeout)(some, -1) && (c.set_timeout)(some, 3));
    assert!((c.stop)(some) && (c.shutdown)(some, -1) && (c.unfreeze)(some) && (c.reboot2)(some, -1), "what does not run has stopped");
}

#[test]
fn items_and_members() {
    let made = Nowhere::new();
    let (c, some) = (made.get(), Some(made.get()));
    assert!(c.lxc_conf.load(Ordering::Acquire).is_null());
    assert!((c.set_config_item)(some, Text::of(c"lxc.group"), Text::of(c"onboot")));
    assert!(!c.lxc_conf.load(Ordering::Acquire).is_null());
    assert!((c.set_config_item)(some, Text::of(c"lxc.uts.name"), Text::of(c"host")));

    let got = |key: &CStr, room: c_int| {
        let mut buffer = [b'-'; 16];
        let length = (c.get_config_item)(some, Text::of(key), buffer.as_mut_ptr().cast(), room);
        (length, String::from_utf8_lossy(&buffer).split('\0').next().unwrap_or_default().to_owned())
    };
    assert_eq!(got(c"lxc.uts.name", 5), (4, "host".into()));
    assert_eq!(got(c"lxc.uts.name", 4), (4, "-".repeat(16)), "a scalar is written whole or not at all");
    assert_eq!(got(c"lxc.group", 5), (7, "onbo".into()), "a list as far as there is room");
    assert_eq!(got(c"lxc.bogus", 5).0, -1);
    assert!((c.get_keys)(some, Text::NULL, ptr::null_mut(), 0) > 1000);

    assert_eq!(taken((c.config_file_name)(some)), "/nonexistent/web/config");
    assert!((c.set_config_path)(some, Text::of(c"/elsewhere/")));
    assert_eq!((member(&c.config_path), member(&c.configfile)), ("/elsewhere".into(), "/elsewhere/web/config".into()));
    assert_eq!(taken((c.get_config_path)(some).cast_mut()), "/elsewhere");
    (c.clear_config)(some);
    assert!(c.lxc_conf.load(Ordering::Acquire).is_null());
    // SAFETY: what this process has there.
    let int = unsafe { *ptr::from_ref(&c.daemonize).cast::<c_int>() };
    assert_eq!(int, 1, "as bindings read it that take a bool for an int");

    assert_eq!(lxc_container_get(some), 1);
    assert_eq!(lxc_container_put(made.0), 0);
}

#[test]
fn arguments_without_end() {
    type Attach = unsafe extern "C" fn(C<'_>, Given<'_>, Text<'_>, Text<'_>, ...) -> c_int;
    type Start = unsafe extern "C" fn(C<'_>, c_int, ...) -> bool;
    type Create = unsafe extern "C" fn(C<'_>, Text<'_>, Text<'_>, Option<&disk::Specs<'_>>, c_int, ...) -> bool;
    let place = std::env::temp_dir().join(format!("liblxc-{}", std::process::id()));
    let lxcpath = CString::new(place.to_str().unwrap()).unwrap();
    let made = lxc_container_new(Text::of(c"made"), Text::of(&lxcpath));
    // SAFETY: it was made here; the members are what these types say.
    unsafe {
        let c = made.as_ref();
        let members = c.map(|c| (c.startl, c.createl, c.attach_run_waitl)).unwrap();
        let start = std::mem::transmute::<variadic::Variadic, Start>(members.0);
        let create = std::mem::transmute::<variadic::Variadic, Create>(members.1);
        let attach = std::mem::transmute::<variadic::Variadic, Attach>(members.2);
        let end = ptr::null::<c_char>();
        // What a template of nine words is told, of which six are on the stack.
        let said = place.join("said");
        let script = format!("exec >{}; shift 3; echo $#:$*", said.display());
        std::fs::create_dir_all(&place).unwrap();
        let template = place.join("template");
        std::fs::write(&template, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&template, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let template = CString::new(template.to_str().unwrap()).unwrap();
        let words = [c"a", c"b", c"c", c"d", c"e", c"f", c"g", c"h", c"i"].map(CStr::as_ptr);
        let [w1, w2, w3, w4, w5, w6, w7, w8, w9] = words;
        let done = create(c, Text::of(&template), Text::NULL, None, 1, w1, w2, w3, w4, w5, w6, w7, w8, w9, end);
        if rustix::process::geteuid().is_root() {
            assert!(done, "{}", c.map(|c| member(&c.error_string)).unwrap_or_default());
            assert_eq!(std::fs::read_to_string(said).unwrap(), "9:a b c d e f g h i\n");
        }
        assert_eq!(attach(c, Given::NONE, Text::of(c"true"), Text::of(c"true"), w1, end), -1, "it does not run");
        assert!(!start(None, 0, w1, w2, end));
    }
    assert_eq!(lxc_container_put(made), 1);
    let _ = std::fs::remove_dir_all(place);
}
