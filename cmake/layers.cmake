# One static library per folder of src/, sources found by glob; tests stand beside the code as *_test.cpp.
#
#   axo_layer(NAME folder… LINK targets… HIDE targets…)   library axo_NAME from src/folder/**.cpp; HIDE: what it links and
#                                           its users do not see, so that they are not compiled anew for its headers' sake
#   axo_layer_tests(NAME folder… LINK …)    executable NAME_test from src/folder/**_test.cpp, registered with ctest

# One precompiled header for everything: the standard library and JSON. Only what nearly every file needs.
# Compiled once, reused by every target.
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/pch.cpp CONTENT "" @ONLY)
add_library(axo_pch STATIC ${CMAKE_BINARY_DIR}/pch.cpp)
target_link_libraries(axo_pch PRIVATE Threads::Threads)
target_precompile_headers(axo_pch PRIVATE
  <algorithm> <array> <chrono> <cstdint> <filesystem> <functional> <map> <memory> <optional> <span> <string>
  <string_view> <unordered_map> <vector> <nlohmann/json.hpp>)

function(axo_test name)
  cmake_parse_arguments(ARG "" "KIND" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} GTest::gtest GTest::gtest_main)
  target_precompile_headers(${name} REUSE_FROM axo_pch)
  # GCC 12 takes what a coroutine's frame holds, inlined into a test by -O2, for uninitialized.
  target_compile_options(${name} PRIVATE $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CONFIG:Release>>:-Wno-maybe-uninitialized>)
  add_test(NAME ${ARG_KIND}.${name} COMMAND ${name})
  set_tests_properties(${ARG_KIND}.${name} PROPERTIES LABELS ${ARG_KIND} TIMEOUT 300)
endfunction()

function(axo_glob out)
  set(all)
  foreach(folder IN LISTS ARGN)
    file(GLOB_RECURSE found CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${folder}/*.cpp ${CMAKE_SOURCE_DIR}/src/${folder}/*.S)
    list(APPEND all ${found})
  endforeach()
  set(${out} ${all} PARENT_SCOPE)
endfunction()

function(axo_layer name)
  cmake_parse_arguments(ARG "" "" "FOLDERS;LINK;HIDE" ${ARGN})
  axo_glob(sources ${ARG_FOLDERS})
  list(FILTER sources EXCLUDE REGEX "_test\\.cpp$")
  if(sources)
    add_library(axo_${name} STATIC ${sources})
    target_include_directories(axo_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR})
    target_link_libraries(axo_${name} PUBLIC ${ARG_LINK} PRIVATE ${ARG_HIDE})
    target_precompile_headers(axo_${name} REUSE_FROM axo_pch)
  else()
    add_library(axo_${name} INTERFACE)
    target_include_directories(axo_${name} INTERFACE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR})
    target_link_libraries(axo_${name} INTERFACE ${ARG_LINK})
  endif()
  axo_glob(tests ${ARG_FOLDERS})
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  if(tests)
    axo_test(${name}_test KIND unit SOURCES ${tests} LINK axo_${name} ${ARG_HIDE})
  endif()
endfunction()

# The program NAME from src/folder, and NAME_test for what belongs to no layer (configuration, command output): both link
# the same objects, all but main. EXCLUDE: folders below it that are layers of their own.
function(axo_program name folder)
  cmake_parse_arguments(ARG "" "" "LINK;EXCLUDE" ${ARGN})
  axo_glob(sources ${folder})
  foreach(excluded IN LISTS ARG_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX "/src/${folder}/${excluded}/")
  endforeach()
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  list(FILTER sources EXCLUDE REGEX "_test\\.cpp$")
  set(main ${CMAKE_SOURCE_DIR}/src/${folder}/main.cpp)
  list(REMOVE_ITEM sources ${main})
  add_library(${name}_objects OBJECT ${sources})
  target_include_directories(${name}_objects PUBLIC ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name}_objects PUBLIC ${ARG_LINK})
  target_precompile_headers(${name}_objects REUSE_FROM axo_pch)
  add_executable(${name} ${main} $<TARGET_OBJECTS:${name}_objects>)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${ARG_LINK})
  target_precompile_headers(${name} REUSE_FROM axo_pch)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  if(tests)
    axo_test(${name}_test KIND unit SOURCES ${tests} $<TARGET_OBJECTS:${name}_objects> LINK ${ARG_LINK})
  endif()
endfunction()
