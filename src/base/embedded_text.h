// Files that are part of a program: a table between two symbols, made by cmake/text.cmake. Thread: any (constants).
#pragma once

namespace axo {

// What the file is called there, its first byte, its end. Declared by who reads the table:
//   extern "C" const EmbeddedText axo_crds_begin[], axo_crds_end[];
struct EmbeddedText {
    const char *name, *begin, *end;
};

}  // namespace axo
