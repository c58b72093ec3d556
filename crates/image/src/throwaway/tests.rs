use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use hostel_spec::MachineName;
use rustix::fs::Mode;

use super::{Place, Throwaway};
use crate::copy::Options;
use crate::walk::testing::{FileSystem, Scratch, names};

fn beside(tree: &Path) -> Place {
    let fd = crate::open::directory(tree).unwrap();
    Place::beside(fd.as_fd(), tree, &MachineName::new("web").unwrap()).unwrap()
}

fn layer(scratch: &Scratch) -> (PathBuf, Throwaway) {
    std::fs::create_dir(scratch.path().join("tree")).unwrap();
    let layer = beside(&scratch.path().join("tree")).make(Mode::from_raw_mode(0o700)).unwrap();
    (layer.path().to_path_buf(), layer)
}

/// A child that another test is just starting may have its descriptor for a moment.
fn sweeps_one(directory: &Path) -> bool {
    (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        crate::sweep(directory).unwrap() == 1
    })
}

#[test]
fn places_are_beside_a_tree_or_in_a_mount_point() {
    let Some(fs) = FileSystem::new("ext4", 60) else { return };
    std::fs::create_dir(fs.at.join("tree")).unwrap();
    for (tree, parent) in [(fs.at.join("tree"), &fs.at), (fs.at.clone(), &fs.at)] {
        let place = beside(&tree);
        assert_eq!(place.path().parent().unwrap(), parent.canonicalize().unwrap());
        let name = place.path().file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(".#hostel-ephemeral-web-") && name.len() == 23 + 16, "{name}");
        let source = crate::open::directory(&tree).unwrap();
        let copied = place.copy(source.as_fd(), &tree, &Options::default()).unwrap();
        let path = copied.path().to_path_buf();
        assert_eq!(crate::sweep(&fs.at).unwrap(), 0);
        assert!(path.is_dir());
        drop(copied);
        assert!(sweeps_one(&fs.at) && !path.exists());
    }
}

#[test]
fn a_layer_in_use_is_not_swept_and_one_that_was_left_is() {
    let scratch = Scratch::new("throwaway-sweep");
    let (path, layer) = layer(&scratch);
    std::fs::write(path.join("f"), "x").unwrap();
    assert_eq!(crate::sweep(scratch.path()).unwrap(), 0);
    assert!(path.join("f").exists());
    drop(layer);
    assert!(sweeps_one(scratch.path()) && !path.exists());
}

#[test]
fn what_is_put_in_its_place_stays_and_what_it_had_goes() {
    for with_link in [true, false] {
        let scratch = Scratch::new(&format!("throwaway-swap-{with_link}"));
        let (path, layer) = layer(&scratch);
        let precious = scratch.path().join("precious");
        std::fs::create_dir(&precious).unwrap();
        std::fs::write(precious.join("f"), "x").unwrap();
        std::fs::write(path.join("own"), "x").unwrap();
        std::fs::rename(&path, scratch.path().join("away")).unwrap();
        if with_link {
            symlink(&precious, &path).unwrap();
        } else {
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("g"), "x").unwrap();
        }
        // What is written through it goes where it really is.
        let file = rustix::fs::openat(layer.dir(), "later", rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY, Mode::RUSR).unwrap();
        drop(file);
        assert!(scratch.path().join("away/later").exists());
        layer.remove().unwrap();
        assert_eq!(names(&scratch.path().join("away")), [] as [&str; 0]);
        assert_eq!((names(&precious), path.symlink_metadata().is_ok()), (vec!["f".into()], true));
        assert!(with_link || path.join("g").exists());
    }
}

#[test]
fn it_has_exactly_the_permissions_that_were_asked_for_and_goes_with_all_in_it() {
    let scratch = Scratch::new("throwaway-mode");
    let temporary = Place::temporary(scratch.path()).unwrap().make(Mode::from_raw_mode(0o755)).unwrap();
    let path = temporary.path().to_path_buf();
    assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o755);
    std::fs::create_dir_all(path.join("a/b")).unwrap();
    assert_eq!(crate::sweep(scratch.path()).unwrap(), 0, "its name is none that a sweep looks for");
    temporary.remove().unwrap();
    assert!(!path.exists());
}

#[test]
fn a_directory_that_is_not_the_new_one_is_refused() {
    let scratch = Scratch::new("throwaway-fresh");
    let dir = std::fs::File::open(scratch.path()).unwrap();
    assert!(crate::partial::is_fresh(dir.as_fd()).unwrap());
    std::fs::write(scratch.path().join("f"), "x").unwrap();
    assert!(!crate::partial::is_fresh(dir.as_fd()).unwrap());
    std::fs::remove_file(scratch.path().join("f")).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(scratch.path(), Some(65534), None).unwrap();
        assert!(!crate::partial::is_fresh(dir.as_fd()).unwrap(), "another's");
    }
}
