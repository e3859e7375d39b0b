//! The only user, as far as it can be looked at. Users, permissions and tokens are not managed here: the
//! configuration names the one user and its token.

use iggy_binary_protocol::{
    WireDecode, WireGlobalPermissions, WireIdentifier, WireOptions, WirePermissions,
    requests::users::GetUserRequest,
    responses::users::{GetUsersResponse, UserDetailsResponse, UserResponse},
};
use iggy_common::{IggyError, UserStatus};

use super::{Call, wire_name};
use crate::{broker::Shared, error::Failure};

/// The number of the only user.
pub(crate) const ID: u32 = 0;

pub(crate) fn get(call: Call<'_>) -> Result<(), Failure> {
    let request = GetUserRequest::decode_from(call.body)?;
    let found = match &request.user_id {
        WireIdentifier::Numeric(id) => *id == ID,
        WireIdentifier::String(name) => name.as_str() == call.shared.config.username,
    };
    if found {
        call.reply.encode(&UserDetailsResponse {
            user: user(call.shared)?,
            permissions: Some(everything()),
        });
    }
    Ok(())
}

pub(crate) fn list(call: Call<'_>) -> Result<(), Failure> {
    let users = vec![user(call.shared)?];
    call.reply.encode(&GetUsersResponse { users });
    Ok(())
}

fn user(shared: &Shared) -> Result<UserResponse, IggyError> {
    Ok(UserResponse {
        id: ID,
        created_at: shared.started_at,
        status: UserStatus::Active.as_code(),
        username: wire_name(&shared.config.username)?,
        options: WireOptions::empty(),
    })
}

fn everything() -> WirePermissions {
    WirePermissions {
        global: WireGlobalPermissions {
            manage_servers: true,
            read_servers: true,
            manage_users: true,
            read_users: true,
            manage_streams: true,
            read_streams: true,
            manage_topics: true,
            read_topics: true,
            poll_messages: true,
            send_messages: true,
        },
        streams: Vec::new(),
    }
}
