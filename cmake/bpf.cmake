# BPF objects: compiled once with Debian's clang, embedded in the programs that load them.
find_program(BPF_CLANG clang-19 REQUIRED)
find_program(BPF_STRIP llvm-strip-19 REQUIRED)

file(GLOB_RECURSE AXO_BPF_HEADERS CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bpf/*.h)
# axo_bpf_library(<library> <source>…): the objects as symbols axo_bpf_<source>_begin / _end (kernel/bpf_blobs.h).
function(axo_bpf_library library)
  set(objects)
  set(blob_text ".section .rodata\n")
  foreach(source IN LISTS ARGN)
    get_filename_component(object ${source} NAME_WLE)
    string(REPLACE ".bpf" "" name ${object})
    set(object ${CMAKE_BINARY_DIR}/bpf/${object}.o)
    add_custom_command(
      OUTPUT ${object}
      COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/bpf
      COMMAND ${BPF_CLANG} -target bpf -mcpu=v3 -std=gnu11 -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter
              -Wno-address-of-packed-member -fdebug-prefix-map=${CMAKE_SOURCE_DIR}=. -I${CMAKE_SOURCE_DIR}
              -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE} -c ${source} -o ${object}
      COMMAND ${BPF_STRIP} -g ${object}
      DEPENDS ${source} ${AXO_BPF_HEADERS}
      COMMENT "BPF ${name}"
      VERBATIM)
    list(APPEND objects ${object})
    string(APPEND blob_text
      ".balign 16\n.global axo_bpf_${name}_begin\naxo_bpf_${name}_begin:\n.incbin \"${object}\"\n.global axo_bpf_${name}_end\naxo_bpf_${name}_end:\n")
  endforeach()
  string(APPEND blob_text ".section .note.GNU-stack,\"\",@progbits\n")
  set(blob_asm ${CMAKE_BINARY_DIR}/bpf/${library}.S)
  file(CONFIGURE OUTPUT ${blob_asm} CONTENT "${blob_text}" @ONLY)
  set_source_files_properties(${blob_asm} PROPERTIES OBJECT_DEPENDS "${objects}")
  add_custom_target(${library}_objects DEPENDS ${objects})
  add_library(${library} STATIC ${blob_asm})
  add_dependencies(${library} ${library}_objects)
endfunction()

file(GLOB AXO_BPF_SOURCES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bpf/hooks/*.bpf.c)
axo_bpf_library(axo_bpf_blobs ${AXO_BPF_SOURCES})
add_custom_target(bpf_objects DEPENDS axo_bpf_blobs_objects)
