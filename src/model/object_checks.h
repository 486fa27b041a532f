// For tests of objects: what is read is written again, and what is refused says why.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "model/json.h"

namespace axo {

template <class Object>
void expect_round_trip(const char* document) {
    const Json json = Json::parse(document);
    const auto object = Object::parse(json);
    ASSERT_TRUE(object) << object.error().message;
    EXPECT_EQ(object->to_json(), json);
    const auto again = Object::parse(object->to_json());
    ASSERT_TRUE(again);
    EXPECT_EQ(*again, *object);
}

template <class Object>
void expect_refused(const char* document, const char* message_part) {
    const auto object = Object::parse(Json::parse(document));
    ASSERT_FALSE(object) << document;
    EXPECT_NE(object.error().message.find(message_part), std::string::npos) << object.error().message;
}

}  // namespace axo
