# SPDX-License-Identifier: Apache-2.0
"""Spack's recipe of winnow."""

from spack.package import *


class Winnow(CMakePackage):
    """Distributed sweeps of compressed language models: pruning, quantization and their evaluation
    over MPI ranks, into one parallel HDF5 file."""

    license("Apache-2.0")

    # From a checkout: `spack develop --path /path/to/winnow winnow@main`.
    version("main")

    variant("march", default="x86-64-v3", description="Oldest CPU of the cluster, for -march")

    depends_on("c", type="build")
    depends_on("cmake@3.22:", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("mpi")
    depends_on("hdf5@1.10:+mpi+hl")
    depends_on("openblas threads=openmp")
    depends_on("cjson")
    depends_on("pcre2")
    depends_on("zlib-api")
    depends_on("openssl")

    def cmake_args(self):
        blas = self.spec["openblas"]
        return [
            self.define("WINNOW_TESTS", False),
            self.define("WINNOW_BENCH", False),
            self.define_from_variant("WINNOW_MARCH", "march"),
            self.define("WINNOW_BLAS_LIBRARY", blas.libs[0]),
            self.define("WINNOW_BLAS_INCLUDE_DIR", blas.prefix.include),
        ]
