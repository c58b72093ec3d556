//! What one row of the table says: a command line, what lies around it, what is done to it, how long it may take.

use std::time::Duration;

/// Which tree the machine gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A copy of the busybox tree, with the probe at /probe.
    Busybox,
    /// The Debian tree below an overlay, with the probe at /probe.
    Debian,
    /// A full copy of the Debian tree.
    DebianCopy,
    /// Nothing is there.
    Missing,
}

/// What stands on the three standard descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stdio {
    /// /dev/null and two pipes.
    Null,
    /// Three pipes; stdin stays open until [`Act::Eof`] or the end.
    Pipes,
    /// One terminal, the controlling one, of 25 rows and 80 columns.
    Terminal,
}

/// One thing done while it runs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    /// Wait until this text came out after what was waited for before; missing it is an outcome, not a failure.
    Wait(&'static str),
    /// Type, or write into the pipe.
    Send(&'static str),
    /// End of file on stdin: the pipe is closed.
    Eof,
    /// Rows and columns of the terminal.
    Resize(u16, u16),
    /// A signal, by number, to the supervisor.
    Signal(i32),
    /// Milliseconds in which nothing is done.
    Pause(u64),
    /// Run this in a shell (variables as in `before`, and `$P`, the supervisor's process id); what it prints is compared.
    Shell(&'static str),
}

/// How standard output is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Byte by byte, after names and directories of the run are replaced.
    Bytes,
    /// As the probe's JSON, field by field.
    View,
    /// As the probe's JSON that it wrote to /view: the original sometimes loses output on its way to a terminal.
    ViewFile,
    /// Not at all (a booting system's chatter).
    Nothing,
}

/// One row.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) tree: Kind,
    /// Options and command. `{tree}`, `{dir}`, `{name}` are replaced.
    pub(crate) args: Vec<&'static str>,
    /// Put `-q --register=no --keep-unit -D {tree}` before the arguments.
    pub(crate) usual: bool,
    pub(crate) look: Look,
    pub(crate) stdio: Stdio,
    pub(crate) acts: Vec<Act>,
    /// Run by `sh -e` before: `$D` the scratch directory, `$T` the tree, `$N` the name.
    pub(crate) before: &'static str,
    /// Run by `sh` afterwards; its output is compared.
    pub(crate) after: &'static str,
    pub(crate) env: Vec<(&'static str, &'static str)>,
    /// In a network namespace made for it.
    pub(crate) own_network: bool,
    /// Run by `sh -e` in that namespace before the command, and after it; what it prints comes before and after the command's output.
    pub(crate) links: Option<(&'static str, &'static str)>,
    /// In a mount namespace with a fresh /run in which something listens where udev does: the original wants that for images.
    pub(crate) udev: bool,
    /// What /etc/systemd/nspawn/NAME.nspawn says, in a mount namespace where nothing else is below /etc/systemd.
    pub(crate) settings: Option<&'static str>,
    pub(crate) limit: Duration,
}

impl Scenario {
    /// These arguments on the busybox tree; output compared as it is.
    pub(crate) fn new(name: &'static str, args: &[&'static str]) -> Scenario {
        Scenario {
            name,
            tree: Kind::Busybox,
            args: args.to_vec(),
            usual: true,
            look: Look::Bytes,
            stdio: Stdio::Null,
            acts: Vec::new(),
            before: "",
            after: "",
            env: Vec::new(),
            own_network: false,
            links: None,
            udev: false,
            settings: None,
            limit: Duration::from_secs(30),
        }
    }

    /// These options and the probe as the command; what it sees is compared.
    pub(crate) fn view(name: &'static str, options: &[&'static str]) -> Scenario {
        let mut scenario = Self::new(name, options);
        scenario.args.extend(["/probe", "json"]);
        scenario.look = Look::View;
        scenario
    }

    /// What is compared of the output.
    pub(crate) fn look(mut self, look: Look) -> Self {
        self.look = look;
        self
    }

    /// Another tree.
    pub(crate) fn tree(mut self, tree: Kind) -> Self {
        self.tree = tree;
        self
    }

    /// Done first.
    pub(crate) fn before(mut self, script: &'static str) -> Self {
        self.before = script;
        self
    }

    /// Done last, and compared.
    pub(crate) fn after(mut self, script: &'static str) -> Self {
        self.after = script;
        self
    }

    /// On a terminal, with these acts.
    pub(crate) fn terminal(mut self, acts: &[Act]) -> Self {
        self.stdio = Stdio::Terminal;
        if self.look == Look::View {
            self.look = Look::ViewFile;
            self.args.push("/view");
        }
        self.acts = acts.to_vec();
        self
    }

    /// On pipes, with these acts.
    pub(crate) fn pipes(mut self, acts: &[Act]) -> Self {
        self.stdio = Stdio::Pipes;
        self.acts = acts.to_vec();
        self
    }

    /// With these acts, stdin being /dev/null.
    pub(crate) fn acts(mut self, acts: &[Act]) -> Self {
        self.acts = acts.to_vec();
        self
    }

    /// One variable of the caller's environment.
    pub(crate) fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.env.push((name, value));
        self
    }

    /// In a network namespace of its own, in which `before` and `after` run.
    pub(crate) fn links(mut self, before: &'static str, after: &'static str) -> Self {
        self.links = Some((before, after));
        self.own_network()
    }

    /// In a network namespace of its own, with loopback down.
    pub(crate) fn own_network(mut self) -> Self {
        self.own_network = true;
        self
    }

    /// With an udev that does nothing.
    pub(crate) fn udev(mut self) -> Self {
        self.udev = true;
        self
    }

    /// With a settings file in /etc/systemd/nspawn; words in braces are replaced as in the arguments.
    pub(crate) fn settings(mut self, text: &'static str) -> Self {
        self.settings = Some(text);
        self
    }

    /// The arguments are all there is.
    pub(crate) fn bare(mut self) -> Self {
        self.usual = false;
        self
    }

    /// Seconds it may take.
    pub(crate) fn limit(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }
}
