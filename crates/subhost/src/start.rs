//! `START=`: what runs in the subhost.

/// What is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Services in order: names, or paths that are called with `start` and `stop`. None: only the reaper.
    Services(Vec<String>),
    /// The tree's init, or this one, with arguments.
    Init(Vec<String>),
}

impl Start {
    pub(crate) fn parse(text: &str) -> Result<Start, String> {
        let mut words = text.split_whitespace().map(str::to_owned);
        let first = words.next().unwrap_or_default();
        if first == "none" {
            return if words.next().is_none() { Ok(Start::Services(Vec::new())) } else { Err("`none` stands alone".into()) };
        }
        if first == "init" || first.starts_with("init:") {
            let path = first.strip_prefix("init:").unwrap_or_default().to_owned();
            if first != "init" && !path.starts_with('/') {
                return Err(format!("{first:?}: the init is an absolute path"));
            }
            let rest: Vec<String> = words.collect();
            if path.is_empty() && !rest.is_empty() {
                return Err("`init` stands alone; arguments go with init:/PATH".into());
            }
            return Ok(Start::Init(std::iter::once(path).filter(|p| !p.is_empty()).chain(rest).collect()));
        }
        let services: Vec<String> = std::iter::once(first).chain(words).collect();
        services.iter().try_for_each(|name| check(name))?;
        Ok(Start::Services(services))
    }
}

/// A service's name is a word, and no path to elsewhere.
fn check(name: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'@' | b'+');
    if name.starts_with('/') || (name.bytes().all(plain) && !name.starts_with(['-', '.'])) {
        return Ok(());
    }
    Err(match name {
        _ if name.starts_with('!') => format!("{name:?}: only the whole value can be a command, which prints the list"),
        "none" | "init" => format!("`{name}` stands alone"),
        _ => format!("{name:?} is neither a service's name nor an absolute path"),
    })
}
