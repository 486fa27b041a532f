// EndpointChangeRequest, checked: the body of PUT and PATCH /endpoint/{id}. Pure. Thread: any.
#pragma once

#include <string>

#include "features/endpoint/types.h"
#include "model/json.h"

namespace axo {

struct EndpointRequest {
    EndpointRow endpoint;
    std::string expiration4, expiration6;  // uuids of the leases
};

// Errors name the field, its value and what is accepted.
Result<EndpointRequest> parse_endpoint_request(const std::string& body);

}  // namespace axo
