//! `hostel import-tar`, `import-raw`, `import-fs`: images from files and directories.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use hostel_engine::error::{Context, Error};
use hostel_image::images::Places;
use hostel_image::import::{self, Options};
use hostel_image::watch::Watch;
use hostel_spec::MachineName;
use lexopt::Arg::{Long, Short, Value};

use super::image::told;
use super::progress::Bar;
use super::{Failure, Outcome, Verb, look};
use crate::output;
use crate::transfers::Transfer;

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

/// What all three take.
pub(super) struct Request {
    pub(super) from: PathBuf,
    pub(super) name: MachineName,
    pub(super) read_only: bool,
    pub(super) force: bool,
    pub(super) quiet: bool,
}

fn parse(verb: &Verb, args: &[OsString]) -> Result<Option<Request>, Failure> {
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
            other => return Err(other.unexpected().into()),
        }
    }
    let Some(from) = given.first() else { return Err(Failure::Usage(format!("{} {}: what to import?", verb.name, verb.args))) };
    let name = match given.get(1) {
        Some(word) => look::name(word)?,
        None => from.to_str().and_then(import::name_from).ok_or_else(|| Failure::Usage(format!("{}: a name for the image is needed", verb.name)))?,
    };
    Ok(Some(Request { from: from.into(), name, read_only, force, quiet }))
}

/// Runs one with its bar and its entry among the transfers.
pub(super) fn transfer<T>(
    verb: &Verb,
    request: &Request,
    total: Option<u64>,
    work: impl FnOnce(&Options<'_>) -> hostel_image::Result<T>,
) -> Result<T, Failure> {
    let transfer = Transfer::begin(verb.name, &request.from.display().to_string(), request.name.as_str())?;
    let bar = Bar::new(&format!("{} {}", verb.name, request.name), total);
    let progress = |done: u64| {
        bar.set(done);
        transfer.set(done, total);
    };
    let watch = Watch { progress: &progress, stop: transfer.stop() };
    let done = work(&Options { places: Places::host(), force: request.force, read_only: request.read_only, watch });
    bar.end();
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
    let Some(request) = parse(&TAR, args)? else { return Ok(0) };
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
    let Some(request) = parse(&RAW, args)? else { return Ok(0) };
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
    let Some(request) = parse(&FS, args)? else { return Ok(0) };
    transfer(&FS, &request, None, |options| import::directory(&request.from, &request.name, options))?;
    say_made(&request);
    Ok(0)
}
