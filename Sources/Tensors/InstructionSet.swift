internal import CKernels

/// Which variant of the kernels runs. Ordered from the slowest to the fastest.
package enum InstructionSet: String, Sendable, Hashable, CaseIterable {
    case scalar
    case avx2
    case avx512
    case avx512bf16

    /// What this processor and this build can run, slowest first.
    package static var available: [InstructionSet] { allCases.filter { $0.kernels != nil } }

    /// The function table; nil where the processor or the build lacks the instruction set.
    var kernels: UnsafePointer<fv_kernels>? { fv_kernels_for(isa) }

    private var isa: fv_isa {
        switch self {
        case .scalar: FV_ISA_SCALAR
        case .avx2: FV_ISA_AVX2
        case .avx512: FV_ISA_AVX512
        case .avx512bf16: FV_ISA_AVX512BF16
        }
    }
}
