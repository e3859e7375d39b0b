//! Numbers that can be a message's whole payload: [`Number`].

/// A number that can be written as text, which is JSON as well: every integer and float type. Floats that are no numbers
/// become `null`, as everywhere in JSON.
pub trait Number: sealed::Sealed {
    /// The number as text.
    fn text(self) -> String;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl sealed::Sealed for $type {}
        impl Number for $type {
            fn text(self) -> String {
                self.to_string()
            }
        }
    )*};
}

macro_rules! floats {
    ($($type:ty)*) => {$(
        impl sealed::Sealed for $type {}
        impl Number for $type {
            fn text(self) -> String {
                if self.is_finite() { self.to_string() } else { "null".to_owned() }
            }
        }
    )*};
}

integers!(i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize);
floats!(f32 f64);
