//! One frame in, one frame out: parses request headers, builds reply frames in a buffer that a connection
//! keeps. Pure; reading from and writing to the socket is left to `connection`.

use bytes::BytesMut;
use iggy_binary_protocol::{
    Command, EvictionHeader, EvictionReason, HEADER_SIZE, IGGY_PROTOCOL_VERSION,
    IGGY_PROTOCOL_VERSION_MIN, Operation, ReplyHeader, RequestHeader, WireEncode, read_size_field,
};

/// Bytes that are zero in every valid request: checksum, body checksum and cluster.
const ZERO_PREFIX: usize = 48;
/// What a connection keeps of a buffer between two frames.
const KEPT: usize = 4 * 1024 * 1024;
/// What an idle connection keeps, and a busy one that had to grow beyond [`KEPT`].
const IDLE: usize = 8 * 1024;

/// A request whose header is known to be sound.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) header: RequestHeader,
    pub(crate) action: Action,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Register,
    Logout,
    /// A command by its code; `replicated` ones change something and need their session in the header.
    Command {
        code: u32,
        replicated: bool,
    },
}

/// A header that is not one of this protocol; there is no way to answer it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The length of the frame that starts with `bytes`, once enough of it is there.
///
/// A client of another protocol version is recognised by its first bytes, so that it is not left waiting
/// for an answer while the broker waits for the rest of its header.
pub(crate) fn frame_length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let prefix = bytes.len().min(ZERO_PREFIX);
    if bytes[..prefix].iter().any(|&byte| byte != 0) {
        return Err(Malformed);
    }
    let Some(size) = read_size_field(bytes) else {
        return Ok(None);
    };
    let size = size as usize;
    if size < HEADER_SIZE {
        return Err(Malformed);
    }
    Ok(Some(size))
}

impl Request {
    /// Reads the header at the start of a whole frame.
    pub(crate) fn parse(frame: &[u8]) -> Result<Self, Malformed> {
        let bytes = frame.get(..HEADER_SIZE).ok_or(Malformed)?;
        // Unaligned: the struct holds u128s and the buffer starts anywhere.
        let header: RequestHeader =
            bytemuck::checked::try_pod_read_unaligned(bytes).map_err(|_| Malformed)?;
        if header.command != Command::Request
            || header.client == 0
            || !header.operation.is_client_allowed()
        {
            return Err(Malformed);
        }
        let action = action(&header)?;
        Ok(Self { header, action })
    }

    /// Whether a reply to this request begins with a result section.
    fn is_result_framed(&self) -> bool {
        self.action == Action::Register || self.header.operation.is_result_framed()
    }
}

fn action(header: &RequestHeader) -> Result<Action, Malformed> {
    match header.operation {
        Operation::Register => Ok(Action::Register),
        Operation::Logout => Ok(Action::Logout),
        Operation::NonReplicated => {
            let [a, b, c, d, ..] = header.reserved;
            let code = u32::from_le_bytes([a, b, c, d]);
            Ok(Action::Command {
                code,
                replicated: false,
            })
        }
        operation => {
            let code = operation.to_command_code().ok_or(Malformed)?;
            Ok(Action::Command {
                code,
                replicated: true,
            })
        }
    }
}

/// The reply under construction. Its buffer only grows while in use, so that a poll reads files straight
/// into memory that was cleared long ago.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    bytes: Vec<u8>,
    /// Where the frame begins; a poll moves it forward to skip batches it had to read but not to send.
    start: usize,
    filled: usize,
    scratch: BytesMut,
}

impl Reply {
    /// Starts the reply to `request`: room for the header and, where due, an empty result section.
    pub(crate) fn begin(&mut self, request: &Request) {
        self.rewind();
        if request.is_result_framed() {
            self.put(&[0; 4]);
        }
    }

    /// Appends an encoded response.
    pub(crate) fn encode(&mut self, response: &impl WireEncode) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        response.encode(&mut scratch);
        self.put(&scratch);
        self.scratch = scratch;
    }

    /// Appends bytes.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.space(bytes.len()).copy_from_slice(bytes);
    }

    /// Appends `length` bytes of whatever the buffer held before, for the caller to overwrite.
    pub(crate) fn space(&mut self, length: usize) -> &mut [u8] {
        let from = self.filled;
        self.filled += length;
        if self.bytes.len() < self.filled {
            self.bytes.resize(self.filled, 0);
        }
        &mut self.bytes[from..self.filled]
    }

    /// Keeps `range` of the body and drops the rest without moving a byte.
    pub(crate) fn keep(&mut self, range: std::ops::Range<usize>) {
        self.start = range.start;
        self.filled = HEADER_SIZE + range.end;
    }

    /// Empties the body, also after a part of it was written.
    pub(crate) fn rewind(&mut self) {
        self.start = 0;
        self.filled = 0;
        self.space(HEADER_SIZE);
    }

    /// Completes a successful reply.
    pub(crate) fn succeed(&mut self, request: &Request, commit: u64) {
        self.complete(request, commit, 0);
    }

    /// Turns the reply into an error: whatever was appended is dropped, because a client takes any body
    /// for an answer.
    pub(crate) fn fail(&mut self, request: &Request, commit: u64, code: u32) {
        self.rewind();
        self.complete(request, commit, code);
    }

    /// Turns the reply into an eviction frame, which has no body.
    pub(crate) fn evict(&mut self, client: u128, reason: EvictionReason) {
        self.rewind();
        let header = match reason {
            EvictionReason::IncompatibleProtocol => EvictionHeader::incompatible_protocol(
                0,
                0,
                0,
                client,
                IGGY_PROTOCOL_VERSION,
                IGGY_PROTOCOL_VERSION_MIN,
            ),
            reason => EvictionHeader::new(0, 0, 0, client, reason),
        };
        self.bytes[..HEADER_SIZE].copy_from_slice(bytemuck::bytes_of(&header));
    }

    /// The finished frame.
    pub(crate) fn frame(&self) -> &[u8] {
        &self.bytes[self.start..self.filled]
    }

    /// Gives memory back that the next reply is unlikely to need.
    pub(crate) fn trim(&mut self) {
        trim(&mut self.bytes, KEPT);
    }

    /// Gives back what an idle connection does not need.
    pub(crate) fn shrink(&mut self) {
        trim(&mut self.bytes, IDLE);
        self.scratch = BytesMut::new();
    }

    fn complete(&mut self, request: &Request, commit: u64, status: u32) {
        let length = self.filled - self.start;
        let header = ReplyHeader {
            // A frame is far below 4 GiB: a poll is capped at one batch over 16 MiB, a batch by the frame cap.
            size: u32::try_from(length).unwrap_or(u32::MAX),
            command: Command::Reply,
            request_checksum: request.header.request_checksum,
            client: request.header.client,
            op: commit,
            commit,
            request: request.header.request,
            operation: request.header.operation,
            status,
            ..ReplyHeader::default()
        };
        self.bytes[self.start..self.start + HEADER_SIZE]
            .copy_from_slice(bytemuck::bytes_of(&header));
    }
}

/// Bounds what a receive buffer keeps after a frame.
pub(crate) fn trim_received(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT {
        buffer.shrink_to(IDLE);
    }
}

/// Bounds what a receive buffer keeps while its connection is idle.
pub(crate) fn shrink_received(buffer: &mut Vec<u8>) {
    buffer.shrink_to(IDLE);
}

fn trim(buffer: &mut Vec<u8>, keep: usize) {
    if buffer.len() > keep {
        buffer.truncate(IDLE);
        buffer.shrink_to(IDLE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(operation: Operation) -> Request {
        let header = RequestHeader {
            command: Command::Request,
            operation,
            client: 9,
            request: 4,
            request_checksum: 5,
            ..RequestHeader::default()
        };
        Request::parse(bytemuck::bytes_of(&header)).unwrap()
    }

    fn header(reply: &Reply) -> ReplyHeader {
        bytemuck::checked::pod_read_unaligned(&reply.frame()[..HEADER_SIZE])
    }

    #[test]
    fn a_length_is_known_once_its_field_is_there() {
        let mut bytes = vec![0; 48];
        bytes.extend_from_slice(&300u32.to_le_bytes());
        for length in 0..52 {
            assert_eq!(frame_length(&bytes[..length]), Ok(None), "{length}");
        }
        assert_eq!(frame_length(&bytes), Ok(Some(300)));
        bytes[47] = 1;
        assert_eq!(frame_length(&bytes[..48]), Err(Malformed));
        assert_eq!(frame_length(&[1]), Err(Malformed));
    }

    #[test]
    fn a_reply_echoes_the_request_and_counts_its_bytes() {
        let request = request(Operation::CreateStream);
        let mut reply = Reply::default();
        reply.begin(&request);
        reply.put(b"abc");
        reply.succeed(&request, 7);
        let header = header(&reply);
        assert_eq!(header.size as usize, HEADER_SIZE + 4 + 3);
        assert_eq!(
            (header.client, header.request, header.request_checksum),
            (9, 4, 5)
        );
        assert_eq!((header.commit, header.status), (7, 0));
        assert_eq!(header.operation, Operation::CreateStream);
        assert_eq!(&reply.frame()[HEADER_SIZE..], b"\0\0\0\0abc");
    }

    #[test]
    fn only_operations_that_have_one_get_a_result_section() {
        let table = [
            (Operation::Register, 4),
            (Operation::StoreConsumerOffset, 4),
            (Operation::JoinConsumerGroup, 4),
            (Operation::SendMessages, 0),
            (Operation::NonReplicated, 0),
            (Operation::Logout, 0),
            (Operation::DeleteSegments, 0),
        ];
        for (operation, length) in table {
            let request = request(operation);
            let mut reply = Reply::default();
            reply.begin(&request);
            reply.succeed(&request, 1);
            assert_eq!(reply.frame().len(), HEADER_SIZE + length, "{operation:?}");
        }
    }

    #[test]
    fn an_error_has_no_body_whatever_was_written_before() {
        let request = request(Operation::CreateStream);
        let mut reply = Reply::default();
        reply.begin(&request);
        reply.put(&[1; 1000]);
        reply.keep(100..200);
        reply.fail(&request, 1, 1009);
        assert_eq!(reply.frame().len(), HEADER_SIZE);
        assert_eq!(
            (header(&reply).status, header(&reply).size),
            (1009, HEADER_SIZE as u32)
        );
    }

    #[test]
    fn a_kept_part_of_the_body_gets_its_header_right_before_it() {
        let request = request(Operation::NonReplicated);
        let mut reply = Reply::default();
        reply.begin(&request);
        reply.put(b"0123456789");
        reply.keep(3..7);
        reply.succeed(&request, 1);
        assert_eq!(&reply.frame()[HEADER_SIZE..], b"3456");
        assert_eq!(header(&reply).size as usize, HEADER_SIZE + 4);
        reply.begin(&request);
        reply.succeed(&request, 1);
        assert_eq!(
            reply.frame().len(),
            HEADER_SIZE,
            "the next reply begins anew"
        );
    }

    #[test]
    fn buffers_give_back_what_they_needed_once() {
        let mut reply = Reply::default();
        reply.rewind();
        reply.space(KEPT + 1);
        reply.trim();
        assert!(reply.bytes.capacity() <= IDLE);
        let mut received = Vec::with_capacity(KEPT + 1);
        trim_received(&mut received);
        assert!(received.capacity() <= IDLE);
    }
}
