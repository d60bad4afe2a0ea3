# Copyright Spack Project Developers. See COPYRIGHT file for details.
#
# SPDX-License-Identifier: (Apache-2.0 OR MIT)

from spack.package import *


class PyMpiopt(PythonPackage):
    """Distributed training of generalised linear models with MPI, stopped by a
    certified duality gap."""

    homepage = "https://github.com/mpiopt/mpiopt"
    pypi = "mpiopt/mpiopt-0.1.0.tar.gz"
    git = "https://github.com/mpiopt/mpiopt.git"

    maintainers("mpiopt")

    license("MIT", checked_by="mpiopt")

    version("main", branch="main")

    variant("tables", default=False, description="Read Parquet, Feather and CSV tables with words")
    variant("inference", default=False, description="Tails of distributions for summaries")
    variant("plot", default=False, description="Draw pictures")

    depends_on("python@3.11:", type=("build", "run"))
    depends_on("py-setuptools@77:", type="build")
    depends_on("py-numpy@2.0:", type=("build", "run"))
    depends_on("py-mpi4py@4.0:", type=("build", "run"))
    depends_on("py-h5py@3.10:", type=("build", "run"))
    depends_on("py-numba@0.60:", type=("build", "run"))
    depends_on("mpi", type=("build", "link", "run"))
    depends_on("py-pyarrow", type=("build", "run"), when="+tables")
    depends_on("py-scipy", type=("build", "run"), when="+inference")
    depends_on("py-matplotlib", type=("build", "run"), when="+plot")

    def test_doctor(self):
        """Check MPI, HDF5, the launcher and the kernel cache"""
        mpiopt = which(self.prefix.bin.mpiopt)
        mpiopt("doctor")

    def test_train(self):
        """Train on two ranks to a certified optimum"""
        mpirun = which(self.spec["mpi"].prefix.bin.mpirun)
        mpirun("-n", "2", self.prefix.bin.mpiopt, "train", "generate:n=2000,d=10,task=binary", "--out", "a.h5")
        mpiopt = which(self.prefix.bin.mpiopt)
        out = mpiopt("inspect", "a.h5", output=str.split, error=str.split)
        check_outputs("certified", out)
