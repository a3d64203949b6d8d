import react from '@vitejs/plugin-react'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  root: 'host',
  base: './',
  plugins: [react()],
  build: { outDir: '../dist', emptyOutDir: true },
  test: { root: '.', environment: 'jsdom', include: ['tests/**/*.test.tsx'], testTimeout: 60_000 },
})
