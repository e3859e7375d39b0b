//! A file that is there from an instance's open to its close, for tests that count instances from outside: [`Presence`].

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use iggy_connector_sdk::Error;

/// An open instance's file. That of an instance that is never closed stays.
#[derive(Debug, Default)]
pub struct Presence(Option<PathBuf>);

impl Presence {
    /// Makes the file of the instance with this number; none without a folder.
    ///
    /// # Errors
    ///
    /// It cannot be made, or is there already.
    pub fn begin(folder: &Path, number: u32) -> Result<Self, Error> {
        if folder.as_os_str().is_empty() {
            return Ok(Self::default());
        }
        let file = folder.join(number.to_string());
        let made = fs::create_dir_all(folder).and_then(|()| File::create_new(&file));
        made.map_err(|error| Error::InitError(format!("{}: {error}", file.display())))?;
        Ok(Self(Some(file)))
    }

    /// The instance is being closed.
    ///
    /// # Errors
    ///
    /// The file cannot be removed.
    pub fn end(&mut self) -> Result<(), Error> {
        match self.0.take() {
            Some(file) => fs::remove_file(&file)
                .map_err(|error| Error::fatal(format!("{}: {error}", file.display()))),
            None => Ok(()),
        }
    }
}
