//! The macros that make a library of a connector: [`sink_connector!`](crate::sink_connector!),
//! [`source_connector!`](crate::source_connector!).

/// Makes this crate's library a sink plugin.
///
/// Stands once in a crate of type `cdylib`, at module level. The type implements [`Sink`](crate::Sink) and has a constructor
/// `fn new(id: u32, config: Config) -> Self`, whose configuration is read from JSON with serde.
#[macro_export]
macro_rules! sink_connector {
    ($sink:ty) => {
        const _: () = {
            #[unsafe(no_mangle)]
            unsafe extern "C" fn iggy_sink_open_v1(
                open: *const $crate::export::abi::instance::Open,
                call: u64,
                completion: $crate::export::abi::Completion<$crate::export::abi::instance::Traits>,
            ) {
                let plugin = ::core::env!("CARGO_PKG_NAME");
                // SAFETY: the host's promise (`OpenFn`), passed on.
                unsafe { $crate::export::sink::open(open, call, completion, plugin, <$sink>::new) }
            }
            const _: $crate::export::abi::instance::OpenFn = iggy_sink_open_v1;

            #[unsafe(no_mangle)]
            unsafe extern "C" fn iggy_sink_consume_v1(
                instance: u32,
                call: u64,
                batch: *const $crate::export::abi::sink::ConsumedBatch,
                completion: $crate::export::abi::Completion<$crate::export::abi::Nothing>,
            ) {
                // SAFETY: the host's promise (`Consume`), passed on.
                unsafe { $crate::export::sink::consume(instance, call, batch, completion) }
            }
            const _: $crate::export::abi::sink::Consume = iggy_sink_consume_v1;

            #[unsafe(no_mangle)]
            unsafe extern "C" fn iggy_sink_flush_v1(
                instance: u32,
                call: u64,
                request: *const $crate::export::abi::sink::FlushRequest,
                completion: $crate::export::abi::Completion<$crate::export::abi::Nothing>,
            ) {
                // SAFETY: the host's promise (`Flush`), passed on.
                unsafe { $crate::export::sink::flush(instance, call, request, completion) }
            }
            const _: $crate::export::abi::sink::Flush = iggy_sink_flush_v1;

            $crate::__entry_points! { sink cancel iggy_sink_cancel_v1
                iggy_sink_health_v1 health
                iggy_sink_close_v1 close
            }
            $crate::__descriptor! { SINK $sink }
        };
    };
}

/// Makes this crate's library a source plugin.
///
/// Stands once in a crate of type `cdylib`, at module level. The type implements [`Source`](crate::Source) and has a
/// constructor `fn new(id: u32, config: Config) -> Self`, whose configuration is read from JSON with serde, or
/// `fn new(id: u32, config: Config, state: Option<ConnectorState>) -> Self`, which is offered the state that was saved last.
#[macro_export]
macro_rules! source_connector {
    ($source:ty) => {
        const _: () = {
            #[unsafe(no_mangle)]
            unsafe extern "C" fn iggy_source_open_v1(
                open: *const $crate::export::abi::instance::Open,
                call: u64,
                completion: $crate::export::abi::Completion<$crate::export::abi::instance::Traits>,
            ) {
                let plugin = ::core::env!("CARGO_PKG_NAME");
                // SAFETY: the host's promise (`OpenFn`), passed on.
                unsafe {
                    $crate::export::source::open(open, call, completion, plugin, <$source>::new)
                }
            }
            const _: $crate::export::abi::instance::OpenFn = iggy_source_open_v1;

            #[unsafe(no_mangle)]
            unsafe extern "C" fn iggy_source_poll_v1(
                instance: u32,
                call: u64,
                request: *const $crate::export::abi::source::PollRequest,
                completion: $crate::export::abi::Completion<
                    $crate::export::abi::source::ProducedBatch,
                >,
            ) {
                // SAFETY: the host's promise (`Poll`), passed on.
                unsafe { $crate::export::source::poll(instance, call, request, completion) }
            }
            const _: $crate::export::abi::source::Poll = iggy_source_poll_v1;

            #[unsafe(no_mangle)]
            unsafe extern "C" fn iggy_source_settle_v1(
                instance: u32,
                call: u64,
                settlement: *const $crate::export::abi::source::Settlement,
                completion: $crate::export::abi::Completion<$crate::export::abi::Nothing>,
            ) {
                // SAFETY: the host's promise (`Settle`), passed on.
                unsafe { $crate::export::source::settle(instance, call, settlement, completion) }
            }
            const _: $crate::export::abi::source::Settle = iggy_source_settle_v1;

            $crate::__entry_points! { source cancel iggy_source_cancel_v1
                iggy_source_health_v1 health
                iggy_source_close_v1 close
            }
            $crate::__descriptor! { SOURCE $source }
        };
    };
}

/// The entry points that a sink and a source have in common.
#[doc(hidden)]
#[macro_export]
macro_rules! __entry_points {
    ($direction:ident cancel $cancel:ident $($plain:ident $name:ident)*) => {
        $(
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $plain(
                instance: u32,
                call: u64,
                completion: $crate::export::abi::Completion<$crate::export::abi::Nothing>,
            ) {
                // SAFETY: the host's promise (`Plain`), passed on.
                unsafe { $crate::export::$direction::$name(instance, call, completion) }
            }
            const _: $crate::export::abi::instance::Plain = $plain;
        )*

        #[unsafe(no_mangle)]
        unsafe extern "C" fn $cancel(instance: u32, call: u64) {
            $crate::export::$direction::cancel(instance, call)
        }
        const _: $crate::export::abi::instance::Cancel = $cancel;

        #[unsafe(no_mangle)]
        unsafe extern "C" fn iggy_connector_shutdown_v1(timeout_ms: u64) -> u32 {
            // SAFETY: the host's promise (`Shutdown`), passed on.
            unsafe { $crate::export::shutdown::shutdown(timeout_ms) }
        }
        const _: $crate::export::abi::instance::Shutdown = iggy_connector_shutdown_v1;
    };
}

/// The library's descriptor. What it tells of Cargo and of panics is that of the plugin's crate, where this is expanded.
#[doc(hidden)]
#[macro_export]
macro_rules! __descriptor {
    ($direction:ident $connector:ty) => {
        #[unsafe(no_mangle)]
        unsafe extern "C" fn iggy_connector_descriptor()
        -> *const $crate::export::abi::descriptor::Descriptor {
            static DESCRIPTOR: ::std::sync::OnceLock<$crate::export::abi::descriptor::Descriptor> =
                ::std::sync::OnceLock::new();
            let plugin = $crate::export::descriptor::Plugin {
                direction: $crate::export::abi::descriptor::$direction,
                name: ::core::env!("CARGO_PKG_NAME"),
                version: ::core::env!("CARGO_PKG_VERSION"),
                panics_abort: ::core::cfg!(panic = "abort"),
            };
            $crate::export::descriptor::describe(&DESCRIPTOR, &plugin, || {
                use $crate::export::schema::WithoutSchema as _;
                $crate::export::schema::of(<$connector>::new).config_schema()
            })
        }
        const _: $crate::export::abi::descriptor::DescriptorFn = iggy_connector_descriptor;
    };
}
