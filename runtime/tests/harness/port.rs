//! A port that stays a test's own while nobody listens at it: for what is ended and started again at the same address, and for an
//! address that refuses connections. A port that was only found free may be another program's a moment later.

use std::net::SocketAddr;

use tokio::net::TcpSocket;

/// A port of the loopback, bound without listening until it is dropped. A server may listen at it all the same, since servers
/// allow an address to be used again.
pub struct Port {
    address: SocketAddr,
    _socket: TcpSocket,
}

impl Port {
    pub fn reserve() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Self {
            address: socket.local_addr().unwrap(),
            _socket: socket,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
