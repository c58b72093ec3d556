//! A container: a name below an lxcpath, and what is known of its configuration.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hostel_image::inroot::{self, Durable};
use hostel_lxc::{Config, Refused};
use rustix::fs::Mode;
use rustix::io::Errno;

use crate::error::{Error, On, Result};
use crate::files::{Host, global_item, text};
use crate::partial;
use crate::store::Store;

/// A container, there or yet to be made.
#[derive(Debug, Clone)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// The directory that its directory is in, absolute, without a slash at its end.
    pub lxcpath: String,
    /// Its configuration; none: nothing was loaded and nothing set.
    pub config: Option<Config>,
    /// How long an answer of its supervisor may take; none: as long as is usual.
    pub(crate) timeout: Option<Duration>,
    /// What loading had to say: keys with names of old.
    pub warnings: Vec<String>,
}

fn refused(refused: Refused) -> Error {
    Error { text: format!("set {refused}"), number: Errno::INVAL.raw_os_error() }
}

/// There is nothing to get, as long as nothing is set.
fn unset(key: &str) -> Error {
    Error::new("get", key, "no configuration is loaded", Errno::INVAL)
}

impl Container {
    /// The container `name` below `lxcpath`, or below that of `lxc.conf`, with its configuration if it has one. What a killed
    /// creation left of it is removed.
    ///
    /// ```
    /// let container = hostel_container::Container::new("web", Some("/nonexistent/")).unwrap();
    /// assert_eq!(container.config_file_name(), "/nonexistent/web/config");
    /// assert!(!container.is_defined() && container.config.is_none());
    /// ```
    pub fn new(name: &str, lxcpath: Option<&str>) -> Result<Container> {
        let mut container = Container::bare(name, lxcpath)?;
        partial::sweep(&container)?;
        if container.is_defined() {
            container.load_config(None)?;
        }
        Ok(container)
    }

    /// The same without a look at the disk: for who asks its supervisor only.
    pub fn bare(name: &str, lxcpath: Option<&str>) -> Result<Container> {
        let why = match name {
            "" | "." | ".." => Some("it is no name"),
            _ if name.contains('/') => Some("a slash is in it"),
            _ if name.contains(['\0', '\n']) => Some("a character is in it that no name has"),
            _ => None,
        };
        if let Some(why) = why {
            return Err(Error::new("name", format_args!("container {name}"), why, Errno::INVAL));
        }
        let mut container = Container { name: name.to_owned(), lxcpath: String::new(), config: None, timeout: None, warnings: Vec::new() };
        container.set_config_path(&lxcpath.map_or_else(|| global_item("lxc.lxcpath").unwrap_or_default(), str::to_owned))?;
        Ok(container)
    }

    /// Looks for it below another lxcpath from now on; nothing is loaded.
    ///
    /// ```
    /// let mut container = hostel_container::Container::new("web", Some("/a")).unwrap();
    /// container.set_config_path("/b").unwrap();
    /// assert_eq!(container.config_file_name(), "/b/web/config");
    /// ```
    pub fn set_config_path(&mut self, lxcpath: &str) -> Result<()> {
        let absolute = std::path::absolute(lxcpath).on("find lxcpath", lxcpath)?;
        let text = absolute.to_str().ok_or(Errno::ILSEQ).on("find lxcpath", lxcpath)?.trim_end_matches('/');
        self.lxcpath = text.to_owned();
        Ok(())
    }

    /// Its directory.
    pub fn directory(&self) -> PathBuf {
        Path::new(&self.lxcpath).join(&self.name)
    }
    /// The path of its configuration.
    pub fn config_file_name(&self) -> String {
        format!("{}/{}/config", self.lxcpath, self.name)
    }
    /// Whether there is such a container: it has a configuration, and nobody is just making it.
    pub fn is_defined(&self) -> bool {
        is_defined(&self.directory())
    }
    /// Refuses to do `verb` to what is not there.
    pub(crate) fn require_defined(&self, verb: &str) -> Result<()> {
        if self.is_defined() { Ok(()) } else { Err(self.error(verb, "there is no such container", Errno::NOENT)) }
    }
    /// Likewise what runs.
    pub(crate) fn require_stopped(&self, verb: &str) -> Result<()> {
        if self.is_running() { Err(self.error(verb, "it runs", Errno::BUSY)) } else { Ok(()) }
    }
    /// An error of doing `verb` to it.
    pub fn error(&self, verb: &str, why: impl std::fmt::Display, number: Errno) -> Error {
        Error::new(verb, format_args!("container {}", self.name), why, number)
    }

    /// How long an answer of its supervisor may take; none: as long as is usual.
    ///
    /// ```
    /// let mut container = hostel_container::Container::new("web", Some("/nonexistent")).unwrap();
    /// container.set_timeout(Some(std::time::Duration::from_secs(2)));
    /// ```
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// Takes the lines of its configuration, or of another file, after what is set already.
    ///
    /// ```
    /// let mut container = hostel_container::Container::new("web", Some("/nonexistent")).unwrap();
    /// assert_eq!(container.load_config(None).unwrap_err().number, 2);
    /// ```
    pub fn load_config(&mut self, file: Option<&Path>) -> Result<()> {
        let file = file.map_or_else(|| PathBuf::from(self.config_file_name()), Path::to_owned);
        let text = text(&file)?;
        self.load_text(&file.display().to_string(), &text)
    }

    pub(crate) fn load_text(&mut self, file: &str, text: &str) -> Result<()> {
        let mut config = self.config.clone().unwrap_or_default();
        let loaded = config
            .load(file, text, &mut Host)
            .map_err(|fault| Error { text: format!("load configuration {fault}"), number: Errno::INVAL.raw_os_error() })?;
        self.warnings.extend(loaded.warnings);
        self.config = Some(config);
        Ok(())
    }

    /// Writes its configuration, or another file: the lines as they were loaded, with what was set since. All or nothing. Nothing
    /// loaded: that of new containers.
    ///
    /// ```no_run
    /// let mut container = hostel_container::Container::new("web", None)?;
    /// container.set_config_item("lxc.uts.name", "web")?;
    /// container.save_config(None)?;
    /// # Ok::<(), hostel_container::Error>(())
    /// ```
    pub fn save_config(&mut self, file: Option<&Path>) -> Result<()> {
        self.load_default()?;
        let text = self.config.as_ref().map(Config::text).unwrap_or_default();
        match file {
            Some(file) => write(file, &text),
            None => {
                partial::make_directory(&self.directory())?;
                write(Path::new(&self.config_file_name()), &text)
            }
        }
    }

    /// The configuration of new containers, while there is none.
    pub(crate) fn load_default(&mut self) -> Result<()> {
        if self.config.is_some() {
            return Ok(());
        }
        match self.load_config(Some(Path::new(&global_item("lxc.default_config").unwrap_or_default()))) {
            Err(e) if e.is(Errno::NOENT) => self.config = Some(Config::default()),
            other => other?,
        }
        Ok(())
    }

    /// Sets an item: a scalar is replaced, a list grows, an empty value clears.
    ///
    /// ```
    /// let mut container = hostel_container::Container::new("web", Some("/nonexistent")).unwrap();
    /// container.set_config_item("lxc.group", "onboot").unwrap();
    /// assert_eq!(container.get_config_item("lxc.group").unwrap(), "onboot\n");
    /// assert!(container.set_config_item("lxc.bogus", "1").is_err());
    /// ```
    pub fn set_config_item(&mut self, key: &str, value: &str) -> Result<()> {
        self.config.get_or_insert_default().set(key, value, &mut Host).map_err(refused)
    }
    /// What is set: of most lists each value on a line of its own.
    pub fn get_config_item(&self, key: &str) -> Result<String> {
        self.config.as_ref().ok_or_else(|| unset(key))?.get(key).map_err(refused)
    }
    /// The keys there are, or those below an interface.
    ///
    /// ```
    /// let mut container = hostel_container::Container::new("web", Some("/nonexistent")).unwrap();
    /// container.set_config_item("lxc.net.0.type", "veth").unwrap();
    /// assert!(container.get_keys(Some("lxc.net.0")).unwrap().contains(&"veth.pair"));
    /// ```
    pub fn get_keys(&self, below: Option<&str>) -> Result<Vec<&'static str>> {
        self.config.as_ref().ok_or_else(|| unset("keys"))?.keys(below).map_err(refused)
    }
    /// Clears an item, or all that is below it.
    pub fn clear_config_item(&mut self, key: &str) -> Result<()> {
        self.config.as_mut().ok_or_else(|| unset(key))?.clear(key).map_err(refused)
    }
    /// Forgets all that is set.
    pub fn clear_config(&mut self) {
        self.config = None;
    }

    /// A scalar that is set, for decisions.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.config.as_ref()?.value(key)
    }
    /// The values of a list.
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.config.iter().flat_map(move |config| config.values(key))
    }
    /// What its root file system is kept in; none: it has none of its own.
    pub(crate) fn store(&self) -> Result<Option<Store>> {
        self.config.as_ref().map_or(Ok(None), Store::of)
    }
}

/// Whether this is the directory of a container that is whole.
pub(crate) fn is_defined(directory: &Path) -> bool {
    directory.join("config").exists() && !directory.join("partial").exists()
}

/// Replaces a file of a container's directory, all or nothing.
pub(crate) fn write(file: &Path, text: &str) -> Result<()> {
    let above = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = Path::new(file.file_name().unwrap_or_default());
    hostel_image::open::directory(above)
        .map_err(|e| e.cause)
        .and_then(|dir| inroot::replace(std::os::fd::AsFd::as_fd(&dir), name, text.as_bytes(), Mode::from_raw_mode(0o640), Durable::No))
        .on("write", file.display())
}
