//! Copies of containers: files, configuration, and what of both names the old one.

use std::os::fd::AsFd;
use std::path::Path;

use hostel_image::inroot::{self, Durable};
use hostel_image::open;
use hostel_lxc::setting;
use rustix::fs::Mode;
use rustix::io::Errno;

use crate::container::Container;
use crate::error::{On, Result};
use crate::store::{Kind, Specs, Store, in_own_mounts};
use crate::{depend, partial};

const VERB: &str = "copy";
/// The maker's part of new hardware addresses.
const FRESH_MAC: &str = "00:16:3e:xx:xx:xx";

/// How a copy is to be.
#[derive(Debug, Clone, Default)]
pub struct CloneOptions {
    /// It keeps the host name.
    pub keep_name: bool,
    /// It keeps the hardware addresses.
    pub keep_mac: bool,
    /// It stands on the files of the original.
    pub snapshot: bool,
    /// It does if the original stands on others already.
    pub maybe_snapshot: bool,
    /// The original may run.
    pub allow_running: bool,
    /// What its files are to be kept in.
    pub store: Specs,
    /// Words for its clone hooks.
    pub hook_arguments: Vec<String>,
}

impl Container {
    /// Copies it to another name, below another lxcpath or the same. It is there when it is whole.
    ///
    /// ```no_run
    /// use hostel_container::{CloneOptions, Container};
    /// let copy = Container::new("web", None)?.clone_to("web2", None, &CloneOptions { snapshot: true, ..Default::default() })?;
    /// assert!(copy.is_defined());
    /// # Ok::<(), hostel_container::Error>(())
    /// ```
    pub fn clone_to(&self, name: &str, lxcpath: Option<&str>, options: &CloneOptions) -> Result<Container> {
        self.clone_then(name, lxcpath.unwrap_or(&self.lxcpath), options, &|_| Ok(()))
    }

    /// The same; `then` adds what is to be there when the copy is.
    pub(crate) fn clone_then(&self, name: &str, lxcpath: &str, options: &CloneOptions, then: &dyn Fn(&Container) -> Result<()>) -> Result<Container> {
        self.require_defined(VERB)?;
        if !options.allow_running {
            self.require_stopped(VERB)?;
        }
        let mut made = Container::new(name, Some(lxcpath))?;
        if made.is_defined() || made.is_running() {
            return Err(made.error("make", "there is one of that name", Errno::EXIST));
        }
        partial::make_directory(&made.directory())?;
        let claim = partial::claim(&made, "make")?;
        match self.fill(&mut made, options).and_then(|()| then(&made)) {
            Ok(()) => claim.done().map(|()| made),
            Err(e) => {
                // the first error is the one to tell
                let _ = claim.undo(&made);
                Err(e)
            }
        }
    }

    fn fill(&self, made: &mut Container, options: &CloneOptions) -> Result<()> {
        let directory = made.directory();
        made.config = None;
        let text = self.renamed(made, options)?;
        made.load_text(&made.config_file_name(), &text)?;
        let mut store = self.store()?;
        if let Some(store) = &mut store {
            let snapshot = options.snapshot || options.maybe_snapshot && matches!(store.kind, Kind::Overlay | Kind::Zfs);
            // Before it does: the original is not to be destroyed meanwhile.
            if snapshot {
                let direct = (options.snapshot || store.kind != Kind::Overlay) && store.is_stood_on(options.store.kind);
                depend::join(made, self, direct)?;
            }
            *store = store.copy(snapshot, &options.store, &directory)?;
            made.set_config_item("lxc.rootfs.path", &store.text())?;
        }
        if !options.keep_name {
            made.set_config_item("lxc.uts.name", &made.name.clone())?;
        }
        made.save_config(None)?;
        match store {
            Some(store) => in_own_mounts(&mut || self.fit(made, &store, options)),
            None => Ok(()),
        }
    }

    /// What is in the copy's files: its host name, and what hooks do. In a mount namespace of its own.
    fn fit(&self, made: &Container, store: &Store, options: &CloneOptions) -> Result<()> {
        const HOSTNAME: &str = "etc/hostname";
        let hooks = made.value("lxc.hook.clone").is_some();
        if options.keep_name && !hooks {
            return Ok(());
        }
        let rootfs = store.attach(&made.directory().join("rootfs"))?;
        let root = open::directory(&rootfs)?;
        let file = Path::new(HOSTNAME);
        if !options.keep_name && inroot::exists(root.as_fd(), file).unwrap_or(false) {
            let text = format!("{}\n", made.name);
            inroot::replace(root.as_fd(), file, text.as_bytes(), Mode::from_raw_mode(0o644), Durable::No).on("write", HOSTNAME)?;
        }
        let (mount, path) = (rootfs.display().to_string(), store.text());
        let variables = [("LXC_SRC_NAME", self.name.as_str()), ("LXC_ROOTFS_MOUNT", &mount), ("LXC_ROOTFS_PATH", &path)];
        made.run_hooks("clone", &options.hook_arguments, &variables)
    }

    /// The text of its configuration for the copy: files in its own directory are copied, and named there.
    fn renamed(&self, made: &Container, options: &CloneOptions) -> Result<String> {
        let (old, new) = (format!("{}/", self.directory().display()), format!("{}/", made.directory().display()));
        let text = self.config.as_ref().map(hostel_lxc::Config::text).unwrap_or_default();
        let mut out = String::new();
        for line in text.lines() {
            let line = match setting(line) {
                Some(("lxc.mount.fstab", file)) if Path::new(file).is_file() => {
                    let name = Path::new(file).file_name().unwrap_or_default().to_string_lossy();
                    let copy = format!("{new}{name}");
                    copy_file(file, &copy)?;
                    format!("lxc.mount.fstab = {copy}")
                }
                Some((key, value)) if key.starts_with("lxc.hook.") && value.starts_with(&old) => {
                    let program = value.split_ascii_whitespace().next().unwrap_or(value);
                    let moved = value.replace(&old, &new);
                    copy_file(program, &program.replace(&old, &new))?;
                    format!("{key} = {moved}")
                }
                // directories of overlays that are mounted in it
                Some(("lxc.mount.entry", value)) if value.contains(" overlay ") => format!("lxc.mount.entry = {}", value.replace(&old, &new)),
                Some((key, _)) if !options.keep_mac && key.starts_with("lxc.net.") && key.ends_with(".hwaddr") => format!("{key} = {FRESH_MAC}"),
                _ => line.to_owned(),
            };
            out.push_str(&line);
            out.push('\n');
        }
        Ok(out)
    }
}

/// Copies a file with its mode, unless it has been copied: several hooks may be one program.
fn copy_file(from: &str, to: &str) -> Result<()> {
    if Path::new(to).exists() {
        return Ok(());
    }
    if let Some(above) = Path::new(to).parent() {
        std::fs::create_dir_all(above).on("make", above.display())?;
    }
    std::fs::copy(from, to).on("copy", from).map(drop)
}
