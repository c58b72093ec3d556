//! A conf file, typed and checked.

use std::path::{Component, Path, PathBuf};

use hostel_spec::{CapName, CapSet, CpuQuota, Hostname, Limit, MachineName, Signal, VethEnds};

use crate::cables;
use crate::{Error, Lines, Start};

/// Where the upper layer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upper {
    /// A directory, or a program (and its arguments) that prints one: what it is shows only on the host.
    Path(PathBuf, Vec<String>),
    /// A tmpfs, of this size (as for mount(8)), thrown away at the end.
    Tmpfs(Option<String>),
}

/// What lies below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lower {
    /// Directories, the topmost first.
    Directories(Vec<PathBuf>),
    /// A disk image; one of its partitions, by number; a directory in it.
    Image(PathBuf, Option<u32>, Option<PathBuf>),
}

/// The network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Net {
    /// The host's.
    Host,
    /// Its own, with these cables.
    Cables(Vec<VethEnds>),
    /// Its own, with a cable that has an address and leads out.
    Nat,
}

/// Size of /run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunSize {
    /// What every machine gets.
    Usual,
    /// As for mount(8).
    Size(String),
}

/// A path of the host that is in the subhost, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// On the host.
    pub host: PathBuf,
    /// Inside.
    pub inside: PathBuf,
    /// Cannot be written.
    pub read_only: bool,
}

/// A subhost. Paths are absolute and without `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conf {
    /// The conf file.
    pub file: PathBuf,
    /// Its name.
    pub name: MachineName,
    /// Its directory.
    pub base: PathBuf,
    /// Where overlay-boot would mount the root.
    pub live: PathBuf,
    /// Below.
    pub lower: Lower,
    /// Above.
    pub upper: Upper,
    /// `UPPER=` was given.
    pub upper_given: bool,
    /// Work directory; `None`: the default, beside the upper layer.
    pub work: Option<PathBuf>,
    /// What is started.
    pub start: Start,
    /// The network.
    pub net: Net,
    /// The log.
    pub log: PathBuf,
    /// /run.
    pub run_size: RunSize,
    /// Prints the script that is run inside instead.
    pub init: Option<String>,
    /// Run before the root is put together.
    pub premount: Option<String>,
    /// Run when it has been.
    pub postmount: Option<String>,
    /// Shared paths.
    pub share: Vec<Share>,
    /// Host name.
    pub hostname: Option<Hostname>,
    /// Capabilities added.
    pub caps: CapSet,
    /// Capabilities taken.
    pub dropped: CapSet,
    /// Users of its own.
    pub userns: bool,
    /// Memory.
    pub memory: Option<Limit>,
    /// CPU time.
    pub cpus: Option<CpuQuota>,
    /// Processes.
    pub pids: Option<Limit>,
    /// The host's identity and jobs are covered.
    pub hygiene: bool,
    /// How PID 1 is asked.
    pub stop_signal: Option<Signal>,
    /// Until it is killed, in microseconds.
    pub stop_timeout: Option<u64>,
}

/// Longest name of a subhost with cables: an interface's has 15 bytes, and three are kept for its number.
const CABLE_NAME: usize = 12;
/// Longest name of an interface.
const INTERFACE: usize = 15;

impl Conf {
    /// Types and checks everything. `file`: the conf file's absolute path. Commands that have not been run count as unset.
    pub fn of(lines: &Lines, file: &Path) -> Result<Conf, Error> {
        let name = lines.text("NAME", &[])?.unwrap_or_else(|| crate::name_of(file));
        let name = MachineName::new(name).map_err(|e| lines.refuse("NAME", e.to_string()))?;
        let known = [("NAME", name.as_str())];
        let directory = file.parent().unwrap_or(Path::new("/"));
        let base = lines.text("BASE", &known)?.ok_or_else(|| lines.refuse("BASE", "it is required: the subhost's directory"))?;
        let base = absolute(directory, &base);
        let shown = base.to_str().ok_or_else(|| lines.refuse("BASE", "it is not UTF-8"))?.to_owned();
        let known = [("NAME", name.as_str()), ("BASE", shown.as_str())];
        let reader = Reader { lines, base: &base, known: &known };
        let live = reader.path("LIVE")?.unwrap_or_else(|| base.join("live"));
        let lower = reader.parsed("LOWER", |text| lower(&base, text))?.unwrap_or_else(|| Lower::Directories(vec!["/".into()]));
        let upper = reader.parsed("UPPER", |text| upper(&base, text))?;
        let start = reader.parsed("START", Start::parse)?.unwrap_or_else(|| Start::Services(vec!["networking".into(), "ssh".into()]));
        let net = reader.net(&name)?;
        let (caps, dropped) = reader.parsed("CAPS", capabilities)?.unwrap_or_default();
        let boots = matches!(start, Start::Init(_));
        let hygiene = reader.yes_or_no("HYGIENE")?;
        // What a command will print is looked at when it has.
        let known_lower = lines.commands().all(|(name, _)| name != "LOWER");
        if boots && hygiene == Some(false) && known_lower && matches!(&lower, Lower::Directories(d) if d.last().is_some_and(|d| d == Path::new("/")))
        {
            return Err(
                lines.refuse("HYGIENE", "booting the init of a copy of this host needs it: its cron jobs, keys and mounts would be used twice")
            );
        }
        let init = reader.text("INIT")?.filter(|c| !is_tool(c, "overlay-init"));
        if boots && init.is_some() {
            return Err(lines.refuse("INIT", "START=init has no place for its script"));
        }
        let userns = reader.yes_or_no("USERNS")?.unwrap_or(false);
        let postmount = reader.text("POSTMOUNT")?.filter(|c| !is_tool(c, "overlay-postmount"));
        if userns && postmount.is_some() {
            return Err(lines.refuse("POSTMOUNT", "with users of its own (USERNS) a subhost runs no program of the host's"));
        }
        Ok(Conf {
            log: reader.path("LOG")?.unwrap_or_else(|| PathBuf::from(format!("/var/log/hostel/{name}.log"))),
            work: reader.path("WORK")?,
            run_size: reader.parsed("RAM_SIZE", run_size)?.unwrap_or_else(|| RunSize::Size("50m".into())),
            premount: reader.text("PREMOUNT")?.filter(|c| !is_tool(c, "overlay-premount")),
            share: reader.shares()?,
            hostname: reader.parsed("HOSTNAME", |t| Hostname::new(t).map_err(|e| e.to_string()))?,
            memory: reader.parsed("MEMORY", memory)?,
            cpus: reader.parsed("CPUS", cpus)?,
            pids: reader.parsed("PIDS", pids)?,
            hygiene: hygiene.unwrap_or(boots),
            stop_signal: reader.parsed("STOP_SIGNAL", |t| Signal::parse(t).map_err(|e| e.to_string()))?,
            stop_timeout: reader.parsed("STOP_TIMEOUT", span)?,
            file: file.to_owned(),
            upper_given: lines.line("UPPER") != 0,
            upper: upper.unwrap_or_else(|| Upper::Path(base.join("root"), Vec::new())),
            name,
            live,
            lower,
            start,
            net,
            init,
            postmount,
            caps,
            dropped,
            userns,
            base,
        })
    }
}

/// Reads variables that may name others.
struct Reader<'a> {
    lines: &'a Lines,
    base: &'a Path,
    known: &'a [(&'a str, &'a str)],
}

impl Reader<'_> {
    fn text(&self, variable: &'static str) -> Result<Option<String>, Error> {
        self.lines.text(variable, self.known)
    }

    fn parsed<T>(&self, variable: &'static str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, Error> {
        self.text(variable)?.map(|text| parse(&text).map_err(|why| self.lines.refuse(variable, why))).transpose()
    }

    fn path(&self, variable: &'static str) -> Result<Option<PathBuf>, Error> {
        Ok(self.text(variable)?.map(|text| absolute(self.base, &text)))
    }

    fn yes_or_no(&self, variable: &'static str) -> Result<Option<bool>, Error> {
        self.parsed(variable, |text| match text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "true" | "1" => Ok(true),
            "no" | "off" | "false" | "0" => Ok(false),
            _ => Err(format!("{text:?} is neither yes nor no")),
        })
    }

    fn net(&self, name: &MachineName) -> Result<Net, Error> {
        let refuse = |variable, why: String| Err(self.lines.refuse(variable, why));
        let cables = self.text("CABLES")?;
        match (self.text("NET")?.as_deref(), cables.as_deref()) {
            (Some("host" | "none"), Some(_)) => return refuse("CABLES", "NET says that there is no cable".into()),
            (Some("host"), None) => return Ok(Net::Host),
            (_, Some("nat")) => return Ok(Net::Nat),
            (None | Some("none" | "cables"), _) => {}
            (Some(other), _) => return refuse("NET", format!("{other:?} is none of host, none, cables")),
        }
        let wires = cables::parse(cables.as_deref().unwrap_or_default()).map_err(|why| self.lines.refuse("CABLES", why))?;
        // The name is followed by the cable's number and, on a VLAN's link, by `.` and the VLAN's.
        let vlans = wires.iter().enumerate().flat_map(|(n, wire)| wire.vlans.iter().map(move |id| format!("{n}.{id}").len()));
        let longest = vlans.map(|tail| INTERFACE.saturating_sub(tail)).min().unwrap_or(CABLE_NAME).min(CABLE_NAME);
        let length = name.as_str().len();
        if !wires.is_empty() && length > longest {
            return refuse("NAME", format!("with these CABLES it has at most {longest} bytes, to be an interface's name; {name} has {length}"));
        }
        if wires.len() > 1000 {
            return refuse("CABLES", "more than 1000".into());
        }
        Ok(Net::Cables(wires))
    }

    fn shares(&self) -> Result<Vec<Share>, Error> {
        let mut shares = Vec::new();
        for (line, text) in self.lines.all("SHARE", self.known) {
            let text = text?;
            shares.push(share(self.base, &text).map_err(|why| Error { line, variable: "SHARE", why })?);
        }
        Ok(shares)
    }
}

/// Below `base` unless absolute; `.` and `..` are taken out as written.
pub(crate) fn absolute(base: &Path, text: &str) -> PathBuf {
    let mut out = PathBuf::from("/");
    for part in base.join(text).components() {
        match part {
            Component::Normal(part) => out.push(part),
            Component::ParentDir => drop(out.pop()),
            _ => {}
        }
    }
    out
}

/// Whether a command is overlay-boot's own tool, which is built in here.
fn is_tool(command: &str, tool: &str) -> bool {
    command.split_whitespace().next().and_then(|word| word.rsplit('/').next()) == Some(tool) && command.split_whitespace().count() == 1
}

fn lower(base: &Path, text: &str) -> Result<Lower, String> {
    if let Some(image) = text.strip_prefix("image:") {
        let (file, rest) = image.split_once('#').map_or((image, None), |(file, rest)| (file, Some(rest)));
        let (part, sub) = match rest.map(|rest| rest.split_once(":/").map_or((rest, None), |(n, sub)| (n, Some(sub)))) {
            None => (None, None),
            Some((part, sub)) => {
                let number = part.parse().ok().filter(|n| (1..=128).contains(n)).ok_or_else(|| format!("{part:?} is no partition's number"))?;
                (Some(number), sub.map(|sub| absolute(Path::new("/"), sub)))
            }
        };
        if file.is_empty() {
            return Err("image: takes a file".into());
        }
        return Ok(Lower::Image(absolute(base, file), part, sub));
    }
    let mut layers = Vec::new();
    let mut word = String::new();
    let mut letters = text.chars();
    loop {
        match letters.next() {
            Some('\\') => word.extend(letters.next()),
            Some(letter) if letter != ':' => word.push(letter),
            end => {
                if word.is_empty() {
                    return Err("a directory of the list is empty".into());
                }
                layers.push(absolute(base, &std::mem::take(&mut word)));
                if end.is_none() {
                    break;
                }
            }
        }
    }
    if layers.len() > 64 {
        return Err("more than 64 layers".into());
    }
    Ok(Lower::Directories(layers))
}

fn upper(base: &Path, text: &str) -> Result<Upper, String> {
    match text {
        "none" | "tmpfs" => return Ok(Upper::Tmpfs(None)),
        _ => {}
    }
    if let Some(size) = text.strip_prefix("tmpfs:") {
        return self::size(size).map(|size| Upper::Tmpfs(Some(size)));
    }
    let mut words = text.split_whitespace();
    let path = absolute(base, words.next().unwrap_or_default());
    Ok(Upper::Path(path, words.map(str::to_owned).collect()))
}

fn run_size(text: &str) -> Result<RunSize, String> {
    if text == "none" { Ok(RunSize::Usual) } else { size(text).map(RunSize::Size) }
}

/// A size as the kernel's tmpfs takes it: a number with k, m, g or %.
fn size(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(['k', 'm', 'g', '%']);
    let number = digits.parse::<u64>().ok().filter(|n| *n > 0 && lower.len() - digits.len() <= 1);
    let bound = if lower.ends_with('%') { 100 } else { 1 << 32 };
    number.filter(|n| *n <= bound).map(|_| lower.clone()).ok_or_else(|| format!("{text:?} is no size: it takes 50M, 1G, 10% or none"))
}

fn share(base: &Path, text: &str) -> Result<Share, String> {
    let (text, read_only) = text.strip_suffix(":ro").map_or((text, false), |text| (text, true));
    let (host, inside) = text.split_once(':').unwrap_or((text, ""));
    if host.is_empty() {
        return Err("it takes a path of the host".into());
    }
    let host = absolute(base, host);
    let inside = if inside.is_empty() { host.clone() } else { absolute(Path::new("/"), inside) };
    if inside == Path::new("/") {
        return Err("nothing can be shared as / of the subhost".into());
    }
    Ok(Share { host, inside, read_only })
}

fn capabilities(text: &str) -> Result<(CapSet, CapSet), String> {
    let (mut added, mut dropped) = (CapSet::EMPTY, CapSet::EMPTY);
    for word in text.split([' ', '\t', ',']).filter(|w| !w.is_empty()) {
        let (name, set) = match word.strip_prefix('-') {
            Some(name) => (name, &mut dropped),
            None => (word.trim_start_matches('+'), &mut added),
        };
        *set = set.or(CapSet::of(&[CapName::parse(name).map_err(|e| e.to_string())?]));
    }
    Ok((added, dropped))
}

fn memory(text: &str) -> Result<Limit, String> {
    if let Some(percent) = text.strip_suffix('%') {
        let percent = percent.parse::<u32>().ok().filter(|p| (1..=100).contains(p));
        return percent.map(|p| Limit::Permyriad(p * 100)).ok_or_else(|| format!("{text:?}: 1% to 100%"));
    }
    hostel_unit::size(text).ok().filter(|n| *n > 0).map(Limit::Value).ok_or_else(|| format!("{text:?} is no size: it takes 512M, 2G, 25%"))
}

fn cpus(text: &str) -> Result<CpuQuota, String> {
    let number = text.parse::<f64>().ok().filter(|n| n.is_finite() && (0.01..=4096.0).contains(n));
    number.map(|n| CpuQuota((n * 1e6) as u64)).ok_or_else(|| format!("{text:?} is no number of CPUs: it takes 0.5, 2"))
}

fn pids(text: &str) -> Result<Limit, String> {
    text.parse::<u64>().ok().filter(|n| *n > 1).map(Limit::Value).ok_or_else(|| format!("{text:?} is no number of processes"))
}

fn span(text: &str) -> Result<u64, String> {
    let refuse = || format!("{text:?} is no time: it takes 30, 90s, 2min");
    match hostel_unit::time_span(text, hostel_unit::TimeUnit::Seconds) {
        Ok(hostel_unit::Span::Micros(micros)) if micros <= 86_400_000_000 => Ok(micros),
        _ => Err(refuse()),
    }
}
