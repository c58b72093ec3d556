//! Making a container: its directory, its store, and the template that fills both.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::Errno;

use crate::container::{Container, write};
use crate::error::{Error, On, Result};
use crate::files::text;
use crate::store::{Specs, Store, in_own_mounts};
use crate::{partial, template};

const VERB: &str = "create";
const TEMPLATES: &str = "/usr/share/lxc/templates/lxc-";

/// How a container is made.
#[derive(Debug, Clone, Default)]
pub struct CreateOptions {
    /// `busybox`, `local`, the name of one in /usr/share/lxc/templates, or an absolute path. None: no files are made, the
    /// configuration is saved.
    pub template: Option<String>,
    /// What its files are kept in.
    pub store: Specs,
    /// What the template says is not shown.
    pub quiet: bool,
    /// Words for the template.
    pub arguments: Vec<String>,
}

/// Where a template does its work.
pub(crate) struct Site<'a> {
    pub(crate) container: &'a Container,
    /// The directory to be filled.
    pub(crate) rootfs: &'a Path,
    pub(crate) options: &'a CreateOptions,
}

impl Container {
    /// Makes it, with the configuration that is loaded or else that of new containers. It is there when it is whole.
    ///
    /// ```no_run
    /// use hostel_container::{Container, CreateOptions};
    /// let mut container = Container::new("web", None)?;
    /// container.create(&CreateOptions { template: Some("busybox".into()), ..Default::default() })?;
    /// # Ok::<(), hostel_container::Error>(())
    /// ```
    pub fn create(&mut self, options: &CreateOptions) -> Result<()> {
        let own = self.store()?;
        let template = options.template.as_deref().filter(|template| *template != "none").map(find).transpose()?;
        let there = own.as_ref().map_or(Ok(false), Store::exists)?;
        if self.is_defined() && (template.is_none() || there) {
            return Err(self.error(VERB, "there is one of that name", Errno::EXIST));
        }
        self.load_default()?;
        if template.is_none() && own.is_none() {
            return self.save_config(None);
        }
        let directory = self.directory();
        partial::make_directory(&directory)?;
        let claim = partial::claim(self, VERB)?;
        let elsewhere = options.store.dir.as_ref().filter(|dir| !dir.exists());
        match self.make(own.filter(|_| there), template.as_ref(), options) {
            Ok(()) => claim.done(),
            Err(e) => {
                // the first error is the one to tell
                if let Some(dir) = elsewhere.filter(|dir| dir.exists()) {
                    let _ = hostel_image::remove::remove_tree(dir);
                }
                let _ = claim.undo(self);
                Err(e)
            }
        }
    }

    fn make(&mut self, own: Option<Store>, template: Option<&Template>, options: &CreateOptions) -> Result<()> {
        let directory = self.directory();
        let store = match own {
            Some(store) => store,
            None => Store::create(&options.store, &directory)?,
        };
        self.set_config_item("lxc.rootfs.path", &store.text())?;
        self.save_config(None)?;
        let Some(template) = template else { return Ok(()) };
        let rootfs = directory.join("rootfs");
        in_own_mounts(&mut || {
            let rootfs = store.filled(&rootfs)?;
            template.run(&Site { container: self, rootfs: &rootfs, options })
        })?;
        let file = self.config_file_name();
        let told = format!(
            "# Template used to create this container: {}\n# Parameters passed to the template:{}\n\n{}",
            template.path(),
            options.arguments.iter().map(|word| format!(" {}", word.replace('\n', " "))).collect::<String>(),
            text(Path::new(&file))?
        );
        write(Path::new(&file), &told)?;
        self.clear_config();
        self.load_config(None)
    }
}

/// A template.
enum Template {
    /// One of ours.
    Own(&'static str, template::Fill),
    /// A program.
    Program(PathBuf),
}

fn find(name: &str) -> Result<Template> {
    if let Some((name, fill)) = template::OWN.iter().find(|(own, _)| *own == name) {
        return Ok(Template::Own(name, *fill));
    }
    let path = if name.starts_with('/') { PathBuf::from(name) } else { PathBuf::from(format!("{TEMPLATES}{name}")) };
    if rustix::fs::access(&path, rustix::fs::Access::EXEC_OK).is_err() || !path.is_file() {
        return Err(Error::new("find template", name, format_args!("there is no program {}", path.display()), Errno::NOENT));
    }
    Ok(Template::Program(path))
}

impl Template {
    fn path(&self) -> String {
        match self {
            Template::Own(name, _) => format!("{TEMPLATES}{name}"),
            Template::Program(path) => path.display().to_string(),
        }
    }

    fn run(&self, site: &Site<'_>) -> Result<()> {
        let program = match self {
            Template::Own(_, fill) => return fill(site).and_then(|()| template::give(site)),
            Template::Program(program) => program,
        };
        let container = site.container;
        let (mut words, mapped) = outside(container);
        words.push(program.display().to_string());
        words.extend([
            format!("--path={}", container.directory().display()),
            format!("--name={}", container.name),
            format!("--rootfs={}", site.rootfs.display()),
        ]);
        words.extend(site.options.arguments.iter().cloned());
        words.extend(mapped);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        if site.options.quiet {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        }
        let status = command.status().on("run", &words[0])?;
        if status.success() { Ok(()) } else { Err(container.error("run template of", status, Errno::CANCELED)) }
    }
}

/// For a container with users of its own: the words before the template, which runs as its root, and those after it: the ids that
/// ours are there.
fn outside(container: &Container) -> (Vec<String>, Vec<String>) {
    let maps: Vec<&str> = container.values("lxc.idmap").collect();
    if maps.is_empty() {
        return Default::default();
    }
    let mut before = vec!["lxc-usernsexec".to_owned()];
    let mut after = Vec::new();
    for map in &maps {
        before.extend(["-m".to_owned(), map.replace(' ', ":")]);
    }
    let caller = [("u", "uid", rustix::process::geteuid().as_raw()), ("g", "gid", rustix::process::getegid().as_raw())];
    for (kind, option, id) in caller {
        let end = |map: &&str| {
            let numbers: Vec<u64> = map.strip_prefix(kind)?.split_ascii_whitespace().filter_map(|n| n.parse().ok()).collect();
            Some(numbers.first()? + numbers.get(2)?)
        };
        let free = maps.iter().filter_map(end).max().unwrap_or(0);
        before.extend(["-m".to_owned(), format!("{kind}:{free}:{id}:1")]);
        after.extend([format!("--mapped-{option}"), free.to_string()]);
    }
    before.push("--".to_owned());
    (before, after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_run_as_the_root_inside() {
        let mut container = Container::bare("c", Some("/nonexistent")).unwrap();
        assert_eq!(outside(&container), (Vec::new(), Vec::new()));
        container.set_config_item("lxc.idmap", "u 0 100000 65536").unwrap();
        container.set_config_item("lxc.idmap", "g 0 200000 1000").unwrap();
        let (before, after) = outside(&container);
        let ids = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let want = format!("lxc-usernsexec -m u:0:100000:65536 -m g:0:200000:1000 -m u:65536:{}:1 -m g:1000:{}:1 --", ids.0, ids.1);
        assert_eq!(before.join(" "), want);
        assert_eq!(after.join(" "), "--mapped-uid 65536 --mapped-gid 1000");
    }

    #[test]
    fn templates_are_programs() {
        assert!(matches!(find("busybox"), Ok(Template::Own("busybox", _))));
        assert!(matches!(find("/bin/sh"), Ok(Template::Program(_))));
        assert_eq!(find("no-such").err().map(|e| e.number), Some(2));
        assert!(find("/etc/passwd").is_err());
    }
}
