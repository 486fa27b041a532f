# axo_embed(<library> <namespace::function> <directory>): all files of a directory in one map from path to content.
function(axo_embed library function directory)
  file(GLOB_RECURSE files CONFIGURE_DEPENDS RELATIVE ${directory} ${directory}/*)
  list(SORT files)
  string(REGEX REPLACE "::[^:]*$" "" space ${function})
  string(REGEX REPLACE "^.*::" "" name ${function})
  set(blobs ".section .rodata\n")
  set(declarations)
  set(entries)
  set(paths)
  set(number 0)
  foreach(path IN LISTS files)
    set(symbol ${library}_${number})
    string(APPEND blobs ".global ${symbol}_begin\n${symbol}_begin:\n.incbin \"${directory}/${path}\"\n.global ${symbol}_end\n${symbol}_end:\n")
    string(APPEND declarations "extern \"C\" const char ${symbol}_begin[], ${symbol}_end[];\n")
    string(APPEND entries "        {\"${path}\", {${symbol}_begin, static_cast<std::size_t>(${symbol}_end - ${symbol}_begin)}},\n")
    list(APPEND paths ${directory}/${path})
    math(EXPR number "${number} + 1")
  endforeach()
  string(APPEND blobs ".section .note.GNU-stack,\"\",@progbits\n")
  set(base ${CMAKE_BINARY_DIR}/embed/${library})
  file(CONFIGURE OUTPUT ${base}.S CONTENT "${blobs}" @ONLY)
  file(CONFIGURE OUTPUT ${base}_table.cpp CONTENT "#include <map>
#include <string>
#include <string_view>

${declarations}
namespace ${space} {
const std::map<std::string, std::string_view>& ${name}();
const std::map<std::string, std::string_view>& ${name}() {
    static const std::map<std::string, std::string_view> files = {
${entries}    };
    return files;
}
}  // namespace ${space}
" @ONLY)
  set_source_files_properties(${base}.S PROPERTIES OBJECT_DEPENDS "${paths}")
  add_library(${library} STATIC ${base}.S ${base}_table.cpp)
endfunction()
