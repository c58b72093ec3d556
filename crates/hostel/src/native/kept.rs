//! Kept machines: an upper layer on disk with a note of what it lies over.

use std::path::PathBuf;

use hostel_engine::error::{Context, Error, Result};
use hostel_spec::{Ephemeral, MachineName, MachineSpec, TreeSource};
use serde::{Deserialize, Serialize};

/// What `machine.json` in a kept machine's directory says.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// The tree below: `/` is the host.
    lower: PathBuf,
}

/// The directory of a kept machine.
pub fn directory(name: &MachineName) -> PathBuf {
    PathBuf::from(hostel_image::open::KEPT).join(name.as_str())
}

/// Makes `spec` use the kept upper layer `name`, made now if it is new.
pub fn attach(spec: &mut MachineSpec, name: &MachineName, make: bool) -> Result<()> {
    let dir = directory(name);
    let note = dir.join("machine.json");
    match std::fs::read_to_string(&note) {
        Ok(text) => {
            let found: Note = serde_json::from_str(&text).map_err(|e| Error::new("read", note.display().to_string(), e))?;
            if let TreeSource::Directory(asked) | TreeSource::Image(asked) = &spec.root.tree
                && make
                && std::fs::canonicalize(asked).ok().as_ref() != Some(&found.lower)
            {
                return Err(Error::new(
                    "use",
                    format!("kept machine {name} over {}", asked.display()),
                    format!("it lies over {}", found.lower.display()),
                )
                .hint(format!("leave --tree out, or `hostel rm {name}` first")));
            }
            spec.root.tree = source(&found.lower);
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && make => {
            let lower = match &spec.root.tree {
                TreeSource::Host => PathBuf::from("/"),
                TreeSource::Directory(path) => std::fs::canonicalize(path).context("open", format!("tree {}", path.display()))?,
                TreeSource::Image(path) => std::fs::canonicalize(path).context("open", format!("image {}", path.display()))?,
                TreeSource::Named(name) => hostel_image::open::find(name)?.path,
            };
            for part in ["upper", "work"] {
                std::fs::create_dir_all(dir.join(part)).context("make", dir.join(part).display().to_string())?;
            }
            let text = serde_json::to_string(&Note { lower }).unwrap_or_default();
            std::fs::write(&note, text).context("write", note.display().to_string())?;
        }
        Err(e) => return Err(e).context("read", note.display().to_string()),
    }
    spec.root.ephemeral = Ephemeral::No;
    spec.root.upper = Some(dir);
    spec.identity.name.get_or_insert_with(|| name.clone());
    Ok(())
}

fn source(lower: &std::path::Path) -> TreeSource {
    match lower {
        _ if lower == std::path::Path::new("/") => TreeSource::Host,
        _ if hostel_image::raw::is_image(lower) => TreeSource::Image(lower.into()),
        _ => TreeSource::Directory(lower.into()),
    }
}

/// Whether a named tree is a kept machine.
pub fn is_kept(name: &MachineName) -> bool {
    matches!(hostel_image::open::find(name), Ok(found) if found.kind == hostel_image::open::Kind::KeptOverlay)
}
