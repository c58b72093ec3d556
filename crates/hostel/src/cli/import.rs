//! `hostel import-tar`, `import-raw`, `import-fs`: images from files and directories.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};

use hostel_engine::error::{Context, Error};
use hostel_image::images::Places;
use hostel_image::import::{self, Options};
use hostel_image::watch::Watch;
use hostel_spec::MachineName;
use lexopt::Arg::{Long, Short, Value};

use super::image::told;
use super::progress::Work;
use super::{Failure, Outcome, Verb, look};
use crate::output;

const OPTIONS: &[(&str, &str)] = &[
    ("--read-only", "mark the image read-only"),
    ("--force", "replace an image of that name, unless it runs"),
    ("-q, --quiet", "nothing but errors"),
];

/// The verb for archives.
pub(super) const TAR: Verb = Verb {
    name: "import-tar",
    args: "FILE|- [NAME]",
    about: "make an image from a tar archive (gzip, xz, zstd, bzip2 or none, seen by its contents)",
    options: OPTIONS,
    examples: &[
        ("hostel import-tar debian.tar.xz", "an image debian"),
        ("tar -C tree -c . | hostel import-tar - web", "from a pipe; owners, links, holes and attributes are kept"),
    ],
    run: tar,
};

/// The verb for disk images.
pub(super) const RAW: Verb = Verb {
    name: "import-raw",
    args: "FILE|- [NAME]",
    about: "make an image from a raw disk image, compressed or not; zeros become holes",
    options: OPTIONS,
    examples: &[("hostel import-raw fedora.raw.xz", "an image fedora")],
    run: raw,
};

/// The verb for directories.
pub(super) const FS: Verb = Verb {
    name: "import-fs",
    args: "DIR [NAME]",
    about: "make an image from a directory: a snapshot or sharing blocks where that can be done",
    options: OPTIONS,
    examples: &[("hostel import-fs /mnt/rescue old", "an image old")],
    run: fs,
};

/// What these, and the verbs that download, are to do.
pub(super) struct Request {
    pub(super) from: PathBuf,
    pub(super) name: MachineName,
    pub(super) read_only: bool,
    pub(super) force: bool,
    pub(super) quiet: bool,
}

impl Request {
    pub(super) fn options<'a>(&self, watch: Watch<'a>) -> Options<'a> {
        Options { places: Places::host(), force: self.force, read_only: self.read_only, watch }
    }
}

/// Reads a command line; `own` takes the options that only this verb has, and says whether it did. `None`: the help was shown.
pub(super) fn parse(
    verb: &Verb,
    args: &[OsString],
    what: &str,
    mut own: impl FnMut(&str, &mut lexopt::Parser) -> Result<bool, Failure>,
    name_of: impl FnOnce(&OsStr) -> Result<Option<MachineName>, Failure>,
) -> Result<Option<Request>, Failure> {
    let mut words = lexopt::Parser::from_args(args);
    let (mut read_only, mut force, mut quiet, mut given) = (false, false, false, Vec::new());
    while let Some(arg) = words.next()? {
        match arg {
            Long("read-only") => read_only = true,
            Long("force") => force = true,
            Short('q') | Long("quiet") => quiet = true,
            Short('h') | Long("help") => {
                output::print(&super::verb_help(verb));
                return Ok(None);
            }
            Value(word) if given.len() < 2 => given.push(word),
            Long(long) => {
                let long = long.to_owned();
                if !own(&long, &mut words)? {
                    return Err(Long(&long).unexpected().into());
                }
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let Some(from) = given.first() else { return Err(Failure::Usage(format!("{} {}: what to {what}?", verb.name, verb.args))) };
    // The source is looked at first, also when the name is given.
    let derived = name_of(from)?;
    let name = match given.get(1) {
        Some(word) => look::name(word)?,
        None => derived.ok_or_else(|| Failure::Usage(format!("{}: a name for the image is needed", verb.name)))?,
    };
    Ok(Some(Request { from: from.into(), name, read_only, force, quiet }))
}

fn parse_local(verb: &Verb, args: &[OsString]) -> Result<Option<Request>, Failure> {
    parse(verb, args, "import", |_, _| Ok(false), |from| Ok(from.to_str().and_then(import::name_from)))
}

/// Runs one with its bar and its entry among the transfers.
fn transfer<T>(verb: &Verb, request: &Request, total: Option<u64>, make: impl FnOnce(&Options<'_>) -> hostel_image::Result<T>) -> Result<T, Failure> {
    let work = Work::begin(verb, &request.from.display().to_string(), request.name.as_str(), total)?;
    let progress = |done| work.set(done);
    let done = make(&request.options(Watch { progress: &progress, stop: work.stop() }));
    work.end();
    told(done)
}

/// Opens what is to be imported, `-` being standard input, with its size if it is a file.
fn open(from: &Path) -> Result<(File, Option<u64>), Error> {
    let what = || from.display().to_string();
    let file = if from == Path::new("-") {
        File::from(rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3).context("open", what())?)
    } else {
        File::open(from).context("open", what())?
    };
    let meta = file.metadata().context("open", what())?;
    if meta.is_dir() {
        return Err(Error::new("open", what(), "it is a directory").hint("`hostel import-fs` imports directories"));
    }
    Ok((file, meta.is_file().then_some(meta.len())))
}

fn tar(args: &[OsString]) -> Outcome {
    let Some(request) = parse_local(&TAR, args)? else { return Ok(0) };
    let (file, size) = open(&request.from)?;
    let report = transfer(&TAR, &request, size, |options| import::tar(file, &request.from, &request.name, options))?;
    say_unpacked(&request, &report);
    Ok(0)
}

/// What an archive had that the image does not.
pub(super) fn say_unpacked(request: &Request, report: &hostel_image::tar::Report) {
    if report.dropped > 0 && !request.quiet {
        let n = report.dropped;
        output::tell(format_args!(
            "notice: {n} extended attributes or access rights were left out: labels, trusted.*, or of users known by name only"
        ));
    }
    say_made(request);
}

pub(super) fn say_made(request: &Request) {
    if !request.quiet {
        output::tell(format_args!("Made image {}.", request.name));
    }
}

/// `.tar`, also compressed.
fn is_archive(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let whole = [".tar", ".tgz", ".txz", ".tzst", ".tbz2"].iter().any(|end| name.ends_with(end));
    whole || name.rsplit_once('.').is_some_and(|(stem, _)| stem.ends_with(".tar"))
}

fn raw(args: &[OsString]) -> Outcome {
    let Some(request) = parse_local(&RAW, args)? else { return Ok(0) };
    if is_archive(&request.from) {
        let error = Error::new("import", request.from.display().to_string(), "by its name it is an archive, not a disk image");
        return Err(error.hint("`hostel import-tar` imports archives").into());
    }
    let (file, size) = open(&request.from)?;
    transfer(&RAW, &request, size, |options| import::raw(file, &request.from, &request.name, options))?;
    say_made(&request);
    Ok(0)
}

fn fs(args: &[OsString]) -> Outcome {
    let Some(request) = parse_local(&FS, args)? else { return Ok(0) };
    transfer(&FS, &request, None, |options| import::directory(&request.from, &request.name, options))?;
    say_made(&request);
    Ok(0)
}
