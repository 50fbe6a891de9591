# Install rules and the CMake package. One export set per component, so that `COMPONENTS modifiers` needs LibTorch alone.
include(CMakePackageConfigHelpers)
set(sparsify_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/sparsify)

set(sparsify_components "")
foreach(component modifiers recipes trainers export)
  if(TARGET sparsify_${component})
    list(APPEND sparsify_components ${component})
    install(TARGETS sparsify_${component} EXPORT sparsify_${component} ARCHIVE FILE_SET HEADERS)
    install(EXPORT sparsify_${component} NAMESPACE sparsify:: DESTINATION ${sparsify_package_dir}
      FILE sparsify-${component}.cmake)
  endif()
endforeach()

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/sparsifyConfig.cmake.in
  ${PROJECT_BINARY_DIR}/package/sparsifyConfig.cmake INSTALL_DESTINATION ${sparsify_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/sparsifyConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES
  ${PROJECT_BINARY_DIR}/package/sparsifyConfig.cmake
  ${PROJECT_BINARY_DIR}/package/sparsifyConfigVersion.cmake
  ${PROJECT_SOURCE_DIR}/third_party/cmake/FindTurboJPEG.cmake
  DESTINATION ${sparsify_package_dir})

install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
