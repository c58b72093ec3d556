//! The new mount API: detached mounts, attributes, id maps.
