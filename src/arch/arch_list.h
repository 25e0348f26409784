/* One row per architecture: src/arch/NAME.c defines the constant wn_arch_NAME. */
WN_ARCH(llama)
