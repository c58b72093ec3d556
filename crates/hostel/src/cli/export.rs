//! `hostel export-tar`, `export-raw`: images into files.

use std::ffi::OsString;
use std::fs::File;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use hostel_engine::error::{Context, Error};
use hostel_image::compress::Format;
use hostel_image::export::{self, Output};
use hostel_image::images::Image;
use hostel_image::watch::Watch;
use lexopt::Arg::{Long, Short, Value};

use super::image::{named, told};
use super::progress::Work;
use super::{Failure, Outcome, Verb, look};
use crate::output;

const OPTIONS: &[(&str, &str)] = &[
    ("--format FORMAT", "uncompressed, gzip, xz, zstd or bzip2; else as the file's name says"),
    ("--force", "replace a file that is there"),
    ("-q, --quiet", "nothing but errors"),
];

/// The verb for trees.
pub(super) const TAR: Verb = Verb {
    name: "export-tar",
    args: "NAME [FILE|-]",
    about: "write an image's tree as a tar archive, owners, links, holes and attributes with it",
    options: OPTIONS,
    examples: &[
        ("hostel export-tar web web.tar.zst", "the file has its name when it is whole"),
        ("hostel export-tar web | ssh host tar -x", "to a pipe"),
    ],
    run: |args| run(&TAR, args),
};

/// The verb for disk images.
pub(super) const RAW: Verb = Verb {
    name: "export-raw",
    args: "NAME [FILE|-]",
    about: "write a disk image",
    options: OPTIONS,
    examples: &[("hostel export-raw fedora fedora.raw.xz", "compressed, as its name says")],
    run: |args| run(&RAW, args),
};

struct Request {
    image: Image,
    file: PathBuf,
    format: Format,
    force: bool,
    quiet: bool,
}

fn parse(verb: &Verb, args: &[OsString]) -> Result<Option<Request>, Failure> {
    let mut words = lexopt::Parser::from_args(args);
    let (mut format, mut force, mut quiet, mut given) = (None, false, false, Vec::new());
    while let Some(arg) = words.next()? {
        match arg {
            Long("format") => {
                let word = words.value()?.to_string_lossy().into_owned();
                let known = Format::of_word(&word).ok_or_else(|| Failure::Usage(format!("parse --format={word}: there is no such format")))?;
                format = Some(known);
            }
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
    let Some(name) = given.first() else { return Err(Failure::Usage("which image? give its name".into())) };
    let name = look::name(name)?;
    let file = PathBuf::from(given.get(1).cloned().unwrap_or_else(|| "-".into()));
    let format = format.unwrap_or_else(|| Format::of_name(&file.to_string_lossy()));
    Ok(Some(Request { image: named(&name)?, file, format, force, quiet }))
}

/// Trees become archives, disk images stay what they are.
fn suits(verb: &Verb, image: &Image) -> Result<(), Error> {
    let is_disk = matches!(image.type_word(), "raw" | "block");
    let (cause, other) = match (verb.name == TAR.name, is_disk) {
        (true, true) => ("it is a disk image", &RAW),
        (false, false) => ("it is a tree", &TAR),
        _ => return Ok(()),
    };
    Err(Error::new("export", format!("image {}", image.name), cause).hint(format!("`hostel {} {}` exports it", other.name, image.name)))
}

fn run(verb: &Verb, args: &[OsString]) -> Outcome {
    let Some(request) = parse(verb, args)? else { return Ok(0) };
    suits(verb, &request.image)?;
    let stdout;
    let to = if request.file == Path::new("-") {
        if std::io::stdout().is_terminal() {
            return Err(Failure::Usage(format!("{}: it is not written to a terminal; give a file, or a pipe", verb.name)));
        }
        stdout = File::from(rustix::io::fcntl_dupfd_cloexec(std::io::stdout(), 3).context("open", "standard output")?);
        Output::Stream(&stdout)
    } else {
        Output::File(&request.file, request.force)
    };
    let work = Work::begin(verb, &request.file.display().to_string(), &request.image.name, request.image.usage)?;
    let progress = |done| work.set(done);
    let watch = Watch { progress: &progress, stop: work.stop() };
    let left_out = if verb.name == TAR.name {
        export::tar(&request.image, &to, request.format, watch).map(|written| written.left_out)
    } else {
        export::raw(&request.image, &to, request.format, watch).map(|_| 0)
    };
    work.end();
    let left_out = match left_out {
        // A reader that went away has what it wanted.
        Err(e) if e.cause == hostel_image::Cause::Os(rustix::io::Errno::PIPE) => return Ok(0),
        other => told(other)?,
    };
    if left_out > 0 && !request.quiet {
        output::tell(format_args!("notice: {left_out} sockets or mounts in it were left out"));
    }
    Ok(0)
}
