//! A partition's stored consumer offsets.

use std::{fs::File, io, sync::atomic::Ordering};

use iggy_common::IggyError;

use super::{
    super::{
        file,
        offsets::{Key, Offsets, Refused},
    },
    Partition, offsets_path,
};
use crate::sync::lock;

impl Partition {
    /// The stored offset of a consumer or group.
    pub(crate) fn stored_offset(&self, key: Key) -> Option<u64> {
        lock(&self.offsets)
            .as_ref()
            .and_then(|offsets| offsets.get(key))
    }

    /// Stores an offset if `permitted` still holds at the moment of the change.
    pub(crate) fn store_offset(
        &self,
        key: Key,
        offset: u64,
        permitted: impl FnOnce() -> Result<(), IggyError>,
    ) -> Result<(), IggyError> {
        if offset >= self.end() {
            return Err(IggyError::InvalidOffset(offset));
        }
        let file = {
            let mut guard = lock(&self.offsets);
            permitted()?;
            let offsets = self
                .opened(&mut guard)
                .map_err(|error| self.offset_error(Refused::Io(error)))?;
            let stored = offsets.store(key, offset);
            stored.map_err(|refused| self.offset_error(refused))?;
            offsets.file()
        };
        self.sync_offsets(&file)
    }

    /// Forgets a stored offset if `permitted` still holds at the moment of the change.
    pub(crate) fn delete_offset(
        &self,
        key: Key,
        permitted: impl FnOnce() -> Result<(), IggyError>,
    ) -> Result<(), IggyError> {
        let file = {
            let mut guard = lock(&self.offsets);
            permitted()?;
            let Some(offsets) = guard.as_mut() else {
                return Err(self.offset_error(Refused::NotFound));
            };
            let deleted = offsets.delete(key);
            deleted.map_err(|refused| self.offset_error(refused))?;
            offsets.file()
        };
        self.sync_offsets(&file)
    }

    fn opened<'a>(&self, offsets: &'a mut Option<Offsets>) -> io::Result<&'a mut Offsets> {
        if offsets.is_none() {
            let path = offsets_path(&self.settings.directory);
            let opened = Offsets::open(&path, self.end()).map_err(io::Error::other)?;
            if self.settings.sync_offsets {
                file::sync_directory(&self.settings.directory)?;
            }
            *offsets = Some(opened);
        }
        offsets
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_offsets(&self, file: &File) -> Result<(), IggyError> {
        if !self.settings.sync_offsets {
            self.unsynced.store(true, Ordering::Relaxed);
            return Ok(());
        }
        file.sync_data()
            .map_err(|error| self.offset_error(Refused::Io(error)))
    }

    fn offset_error(&self, refused: Refused) -> IggyError {
        match refused {
            Refused::TooMany => IggyError::TooManyConsumerOffsets,
            Refused::NotFound => IggyError::ConsumerOffsetNotFound(0),
            Refused::Io(error) => {
                tracing::error!(%error, path = %self.settings.directory.display(), "consumer offset not stored");
                IggyError::CannotWriteToFile
            }
        }
    }
}
