//! Disk images: where they are, which partitions of them are used, and what verifies them.

use std::path::PathBuf;

use hostel_spec::{Hint, ImagePolicy, RootHash, RootHashSignature, base64};

use super::Draft;
use super::tree::absolute;
use crate::error::UsageError;
use crate::options::OptionRow;

impl Draft<'_> {
    pub(super) fn image(&mut self, row: &'static OptionRow, value: &str) -> Result<(), UsageError> {
        self.image = if value.is_empty() { None } else { Some(absolute(row, value, &self.env.cwd, value)?) };
        Ok(())
    }

    pub(super) fn image_policy(&mut self, row: &'static OptionRow, value: &str) -> Result<(), UsageError> {
        self.spec.root.image.policy = match value {
            "" => None,
            _ => Some(ImagePolicy::parse(value).map_err(|e| UsageError::value(row, value, e.why))?),
        };
        Ok(())
    }

    pub(super) fn root_hash(&mut self, row: &'static OptionRow, value: &str) -> Result<(), UsageError> {
        self.spec.root.image.root_hash = Some(RootHash::parse(value).map_err(|e| UsageError::value(row, value, e.why))?);
        Ok(())
    }

    pub(super) fn root_hash_sig(&mut self, row: &'static OptionRow, value: &str) -> Result<(), UsageError> {
        let signature = match value.strip_prefix("base64:") {
            Some(text) => {
                let bytes = base64(text).filter(|b| !b.is_empty());
                RootHashSignature::Bytes(bytes.ok_or_else(|| UsageError::value(row, value, "it is no base64"))?)
            }
            None => RootHashSignature::Path(self.file(row, value)?),
        };
        self.spec.root.image.root_hash_sig = Some(signature);
        Ok(())
    }

    pub(super) fn verity_data(&mut self, row: &'static OptionRow, value: &str) -> Result<(), UsageError> {
        self.spec.root.image.verity_data = Some(self.file(row, value)?);
        Ok(())
    }

    fn file(&self, row: &'static OptionRow, value: &str) -> Result<PathBuf, UsageError> {
        if value.is_empty() {
            return Err(UsageError::value(row, value, "the path is empty"));
        }
        absolute(row, value, &self.env.cwd, value)
    }

    /// An image excludes the other ways to name a tree, and what verifies one needs one.
    pub(super) fn check_image(&self) -> Result<(), UsageError> {
        const ONE: &str = "a machine has one tree";
        if self.image.is_some() {
            if self.directory.is_some() {
                return Err(UsageError::Conflict { first: "--directory=", second: "--image=", why: ONE });
            }
            if self.template.is_some() {
                return Err(UsageError::Conflict { first: "--template=", second: "--image=", why: "a template is for directories" });
            }
        }
        let options = &self.spec.root.image;
        if options.root_hash.is_none() {
            for (given, what) in [(options.root_hash_sig.is_some(), "use --root-hash-sig="), (options.verity_data.is_some(), "use --verity-data=")] {
                if given && self.image.is_none() && self.spec.identity.name.is_none() {
                    return Err(UsageError::Request { what, why: "there is no image", hint: Some(Hint::GiveTree) });
                }
            }
        }
        if options.root_hash.is_some() && self.image.is_none() && (self.directory.is_some() || self.spec.identity.name.is_none()) {
            return Err(UsageError::Conflict { first: "--root-hash=", second: "--directory=", why: "only a disk image can be verified by it" });
        }
        Ok(())
    }
}
